import type { MessageInitShape } from "@bufbuild/protobuf";
import { AnswerReader } from "../chat/answer-reader.ts";
import type { Chat, Said } from "../chat/chat.ts";
import type { GatewaySession } from "../chat/gateway-session.ts";
import type { GatewaySessions } from "../chat/gateway-sessions.ts";
import type { LiveTurn } from "../chat/live-turn.ts";
import { Bell } from "../events/bell.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import type {
  GatewayMessage,
  StreamChatRequest,
  StreamChatResponseSchema,
} from "../gen/proto/gateway/v1/gateway_pb.ts";
import type { SentDraft } from "../messages/messages.ts";
import { activeSession, type SessionId } from "../sessions/session.ts";
import { askedBy } from "./asked-by.ts";
import type { Call } from "./call.ts";
import { ChatFrames } from "./chat-frames.ts";
import { burst, chunkFrames } from "./chunk-frames.ts";
import type { Encoded } from "./encoded.ts";
import { SideFrames } from "./side-frames.ts";
import {
  gatewayCallerOf,
  gatewayDraftOf,
  toWireGivenUp,
  toWireStreamStatus,
  toWireUnasked,
} from "./wire-gateway.ts";
import { requiredId } from "./wire-values.ts";

type Response = MessageInitShape<typeof StreamChatResponseSchema>;

export interface StreamChatParts {
  readonly gateways: GatewaySessions;
  readonly chat: Chat;
  /** Counts as activity of a session. */
  readonly touch: (id: SessionId) => Promise<void>;
}

/** How many turns of one stream may wait to be read before no more is taken from its client. */
const maxTurns = 64;

/** A turn that is to be sent. */
interface Waiting {
  readonly messageId: string;
  turn: LiveTurn | undefined;
  /** Why the caller does not want what has not been sent of it. */
  givenUp: string | undefined;
}

/** One StreamChat: the questions of one caller, and their answers in the order in which they were asked. */
export class ChatStream {
  readonly #parts: StreamChatParts;
  readonly #call: Call;
  readonly #bell = new Bell();
  readonly #room = new Bell();
  /** Answers to heartbeats, and to messages that begin no turn. */
  readonly #side = new SideFrames<Response>(this.#bell.ring);
  readonly #turns: Waiting[] = [];
  readonly #frames = new ChatFrames();
  #input: { readonly state: "open" | "ended" } | { readonly state: "failed"; readonly error: unknown } = {
    state: "open",
  };

  constructor(parts: StreamChatParts, call: Call) {
    this.#parts = parts;
    this.#call = call;
  }

  async *run(
    requests: AsyncIterable<StreamChatRequest>,
  ): AsyncGenerator<Response | Encoded, void, undefined> {
    const frames = requests[Symbol.asyncIterator]();
    const first = await frames.next();
    const id = requiredId<SessionId>(first.done ? "" : first.value.sessionId, "session_id");
    const stopListening = this.#parts.chat.onClosing(id, this.#bell.ring);
    this.#call.signal.addEventListener("abort", this.#bell.ring, { once: true });
    this.#call.signal.addEventListener("abort", this.#room.ring, { once: true });
    try {
      const session = await this.#parts.gateways.get(id, gatewayCallerOf(this.#call));
      activeSession(session, { id, doing: "chat in session" });
      this.#call.open();
      if (!first.done) void this.#readAndTake(session, first.value, frames); // it never rejects
      yield* this.#answer(session);
    } finally {
      stopListening();
    }
  }

  async *#answer(session: GatewaySession): AsyncGenerator<Response | Encoded, void, undefined> {
    for (;;) {
      const [first] = this.#turns;
      if (first !== undefined) {
        const turn = first.turn ?? (await this.#parts.chat.turn(session.id, first.messageId));
        const end = turn === undefined ? undefined : yield* this.#answerTurn(session, first, turn);
        this.#turns.shift(); // what is cancelled from here on is the next one
        this.#room.ring();
        if (end !== undefined) yield end;
        continue;
      }
      const side = this.#side.take();
      if (side !== undefined) {
        yield side;
        continue;
      }
      this.#check();
      // What was taken before is answered first.
      if (this.#input.state === "failed") throw this.#input.error;
      if (this.#input.state === "ended" || (await this.#isClosed(session))) return;
      await this.#bell.wait();
    }
  }

  /** Sends an answer; gives the status that ends it. */
  async *#answerTurn(
    session: GatewaySession,
    waiting: Waiting,
    turn: LiveTurn,
  ): AsyncGenerator<Response | Encoded, Response, undefined> {
    const { config } = session.gateway;
    const reader = new AnswerReader(turn, {
      maxBytes: config.chunkSize,
      when: config.enableStreaming ? "made" : "whole",
    });
    const frame = chunkFrames({ delta: config.enableDelta, metadata: "with" });
    const delayMs = Number(config.chunkDelayNs) / 1e6;
    const stopListening = turn.listen(this.#bell.ring);
    let nextMs = 0;
    let isWhole = false;
    try {
      for (;;) {
        this.#check();
        const side = this.#side.take();
        if (side !== undefined) {
          yield side;
          continue;
        }
        if (waiting.givenUp !== undefined && !isWhole && turn.over?.end.kind === "answered")
          return { payload: { case: "status", value: toWireGivenUp(turn, reader, waiting.givenUp) } };
        const now = performance.now();
        if (nextMs - now >= 1 && turn.over?.end.kind !== "cancelled") {
          await this.#bell.wait(nextMs - now);
          continue;
        }
        const next = reader.next();
        if (next === "wait") {
          await this.#bell.wait();
        } else if (next === "over") {
          return { payload: { case: "status", value: toWireStreamStatus(turn, reader) } };
        } else {
          if (delayMs > 0) nextMs = Math.max(now, nextMs) + delayMs;
          isWhole = next.place === "last";
          yield frame(next);
          if (next.sequence % burst === burst - 1) await new Promise((resolve) => setImmediate(resolve));
        }
      }
    } finally {
      stopListening();
    }
  }

  /** Takes what the client sends, until it sends no more. What is wrong with it ends the stream. */
  async #readAndTake(
    session: GatewaySession,
    first: StreamChatRequest,
    frames: AsyncIterator<StreamChatRequest>,
  ): Promise<void> {
    try {
      const taking = this.#frames.takeAll(async (frame) => {
        while (this.#turns.length >= maxTurns && !this.#call.signal.aborted) await this.#room.wait();
        this.#check();
        await this.#take(session, frame.request, () => frame.givenUp);
      });
      await Promise.all([taking, this.#read(session, first, frames)]);
      this.#input = { state: "ended" };
    } catch (error) {
      this.#input = { state: "failed", error };
    }
    this.#bell.ring();
  }

  /** Reads ahead of what can be taken; what gives up an answer is heeded at once. */
  async #read(
    session: GatewaySession,
    first: StreamChatRequest,
    frames: AsyncIterator<StreamChatRequest>,
  ): Promise<void> {
    try {
      for (let request = first; ; ) {
        const { payload } = request;
        if (payload.case === "cancel" && isOf(session, request)) await this.#cancel(payload.value);
        else await this.#frames.put(request, this.#call.signal);
        const next = await frames.next();
        if (next.done) return;
        request = next.value;
      }
    } finally {
      this.#frames.end();
    }
  }

  /** @param givenUp why the caller does not want an answer to it any more, which it may say while this waits */
  async #take(
    session: GatewaySession,
    request: StreamChatRequest,
    givenUp: () => string | undefined,
  ): Promise<void> {
    const { sessionId, payload } = request;
    if (!isOf(session, request)) {
      const description = `is "${sessionId.slice(0, 64)}"; this stream is of session "${session.id}"`;
      throw invalid("go on with the chat", [{ field: "session_id", description }]);
    }
    const { signal } = this.#call;
    switch (payload.case) {
      case "message":
        await this.#ask(session, payload.value, givenUp);
        return;
      case "heartbeat":
        await this.#parts.touch(session.id);
        await this.#side.put({ payload: { case: "heartbeat", value: {} } }, signal);
    }
  }

  async #ask(
    session: GatewaySession,
    wire: GatewayMessage,
    givenUp: () => string | undefined,
  ): Promise<void> {
    const draft = gatewayDraftOf(wire, session.id);
    const said = await this.#send(session, { draft, idempotencyKey: "" });
    if (said.turn !== undefined) {
      const waiting = this.#wait(said.turn);
      const words = givenUp();
      if (words !== undefined) await this.#giveUp(waiting, words);
      return;
    }
    await this.#side.put({ payload: toWireUnasked(said.message) }, this.#call.signal);
  }

  /** Where too many questions of the session wait, nothing more is taken from the client until there is room. */
  async #send(session: GatewaySession, sent: SentDraft): Promise<Said> {
    for (;;) {
      try {
        return await this.#parts.gateways.send(session, sent, askedBy(this.#call));
      } catch (error) {
        if (Failure.from(error)?.details.reason !== "TOO_MANY_TURNS") throw error;
        await this.#room.wait(roomEveryMs);
        if (this.#call.signal.aborted) throw abortFailure(this.#call.signal);
      }
    }
  }

  /** Puts a turn behind those that are answered first. What a turn has said that is over before its time is not held. */
  #wait(turn: LiveTurn): Waiting {
    const waiting: Waiting = { messageId: turn.messageId, turn, givenUp: undefined };
    this.#turns.push(waiting);
    const noteEnd = () => {
      if (turn.over === undefined) return;
      this.#room.ring();
      if (turn.bytes > 0 && this.#turns[0] !== waiting) waiting.turn = undefined;
    };
    turn.listen(noteEnd);
    noteEnd();
    this.#bell.ring();
    return waiting;
  }

  /**
   * Gives up the turn that is being sent, or what is left of its answer; with `force` also those behind it, of which the ones
   * that have not begun never do.
   */
  async #cancel({ reason, force }: { readonly reason: string; readonly force: boolean }): Promise<void> {
    const words = reason === "" ? "the caller has given it up" : reason.slice(0, maxReason).toWellFormed();
    const { questions } = this.#frames;
    const [first] = this.#turns;
    // Those that are not stored yet are given up when they are.
    for (const question of force ? questions : first === undefined ? questions.slice(0, 1) : [])
      question.givenUp = words;
    for (const waiting of force ? this.#turns.toReversed() : first === undefined ? [] : [first])
      await this.#giveUp(waiting, words);
    this.#bell.ring();
  }

  async #giveUp(waiting: Waiting, words: string): Promise<void> {
    waiting.givenUp = words;
    const { turn } = waiting;
    if (turn !== undefined && turn.over === undefined)
      await this.#parts.chat.cancel(turn.sessionId, turn.messageId, words);
  }

  #check(): void {
    if (this.#call.signal.aborted) throw abortFailure(this.#call.signal);
  }

  /** Whether the session takes no more, and nothing that was sent to it waits for its outcome. */
  async #isClosed({ id }: GatewaySession): Promise<boolean> {
    const session = await this.#parts.gateways.get(id, gatewayCallerOf(this.#call));
    return session.life.state !== "active" && this.#frames.isEmpty && this.#turns.length === 0;
  }
}

function isOf({ id }: GatewaySession, { sessionId }: StreamChatRequest): boolean {
  return sessionId === "" || sessionId === id;
}

/** How often it is tried again to send a question where others' fill the session's queue, in milliseconds. */
const roomEveryMs = 1_000;

/** The longest reason of a cancel that is kept, in UTF-16 units. */
const maxReason = 1_024;
