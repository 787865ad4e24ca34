import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Chat } from "../chat/chat.ts";
import { Bell } from "../events/bell.ts";
import type { LogEvent, Position } from "../events/event.ts";
import type { EventLog, LogItem } from "../events/log.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import {
  type OrchestratorService,
  type StreamMessageRequest,
  StreamMessageResponseSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Message } from "../messages/message.ts";
import type { Messages } from "../messages/messages.ts";
import { activeSession, type Session, type SessionId } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { askedBy } from "./asked-by.ts";
import type { Call } from "./call.ts";
import { type Encoded, encode } from "./encoded.ts";
import { cursorHeader, notRead } from "./event-calls.ts";
import type { Handlers } from "./handlers.ts";
import { SideFrames } from "./side-frames.ts";
import { toWireEvent } from "./wire-event.ts";
import { draftOf, toWireMessage } from "./wire-message.ts";
import { requiredId } from "./wire-values.ts";

export interface MessageStreamParts {
  readonly sessions: Sessions;
  readonly messages: Messages;
  readonly chat: Chat;
  readonly log: EventLog;
}

type Response = MessageInitShape<typeof StreamMessageResponseSchema> | Encoded;

/** OrchestratorService's conversation: messages in, and the session's messages and events out. */
export function messageStreamCalls(parts: MessageStreamParts): Handlers<typeof OrchestratorService> {
  return {
    streamMessages: (requests, call) => new MessageStream(parts, call).run(requests),
  };
}

/** One StreamMessages. */
class MessageStream {
  readonly #parts: MessageStreamParts;
  readonly #call: Call;
  readonly #bell = new Bell();
  /** Answers to heartbeats, and acknowledgements of messages that were stored before. */
  readonly #side = new SideFrames<Response>(this.#bell.ring);
  /** Messages that came in here and whose event has not gone out: they are not sent back. */
  readonly #own = new Set<string>();
  /** Questions that came in here and have no answer yet. */
  readonly #asked = new Set<string>();
  #input: { readonly state: "open" | "ended" } | { readonly state: "failed"; readonly error: unknown } = {
    state: "open",
  };
  #position: Position = 0;
  #isClosed = false;

  constructor(parts: MessageStreamParts, call: Call) {
    this.#parts = parts;
    this.#call = call;
  }

  async *run(requests: AsyncIterable<StreamMessageRequest>): AsyncGenerator<Response, void, undefined> {
    const { log, sessions } = this.#parts;
    const frames = requests[Symbol.asyncIterator]();
    const first = await frames.next();
    if (first.done)
      throw invalid("stream messages", [{ field: "session_id", description: "is missing; name one" }]);
    const id = requiredId<SessionId>(first.value.sessionId, "session_id");
    const { resumeAfter } = first.value;
    this.#position = await log.positionAt(
      resumeAfter === "" ? { kind: "now" } : { kind: "cursor", cursor: resumeAfter, field: "resume_after" },
    );
    const session = await sessions.get(id);
    // What a closed session has said can still be read to its end.
    if (resumeAfter === "" || first.value.payload.case === "message")
      activeSession(session, { id, doing: "stream messages of session" });
    this.#call.onStalled = () => notRead(log.cursor(this.#position));
    this.#call.open({ [cursorHeader]: log.cursor(this.#position) });
    const leave = this.#parts.chat.join(id);
    try {
      void this.#read(id, first.value, frames); // it never rejects
      yield* this.#send(id, session);
    } finally {
      leave();
    }
  }

  async *#send(id: SessionId, { life }: Session): AsyncGenerator<Response, void, undefined> {
    const { log } = this.#parts;
    const { signal } = this.#call;
    // The log of a session ends with its end.
    const filter = { sessionId: id, ...(life.state === "closed" ? { endTime: life.at + 1 } : {}) };
    const items = log.follow({ after: this.#position, filter, signal });
    const arrivals = new Arrivals(items, this.#bell.ring);
    signal.addEventListener("abort", this.#bell.ring, { once: true });
    try {
      for (;;) {
        const side = this.#side.take();
        if (side !== undefined) {
          yield side;
          continue;
        }
        const item = arrivals.take();
        if (item?.kind === "event") {
          yield* this.#told(id, item.event);
          continue;
        }
        if (signal.aborted) throw abortFailure(signal);
        if (this.#input.state === "failed") throw this.#input.error;
        if (item?.kind === "end") return;
        if (this.#isOver()) break;
        await this.#bell.wait();
      }
    } finally {
      arrivals.stop();
    }
    yield* this.#rest(id);
  }

  /** What the log has had since, when the client has said that it sends no more: who resumes and half-closes gets all. */
  async *#rest(id: SessionId): AsyncGenerator<Response, void, undefined> {
    const { log } = this.#parts;
    const after = this.#position;
    const rest = { after, upTo: log.tail, filter: { sessionId: id }, signal: this.#call.signal };
    for await (const event of log.between(rest)) yield* this.#told(id, event);
  }

  async *#told(id: SessionId, event: LogEvent): AsyncGenerator<Response, void, undefined> {
    const { log, messages } = this.#parts;
    const messageId = event.data?.message_id ?? "";
    if (event.type === "message_created" && !this.#own.delete(messageId)) {
      const frame = await messageFrame(event, () => messages.get(id, messageId));
      if (frame !== undefined) yield frame;
    }
    // Before it is handed over: what was handed over reaches the client before the stream's end does.
    this.#position = event.position;
    if (event.type === "turn_answered" || event.type === "turn_failed" || event.type === "turn_cancelled")
      this.#asked.delete(messageId);
    if (event.type === "session_closed") this.#isClosed = true;
    yield eventFrame(event, log.cursor(event.position));
  }

  /** Whether all that was sent is stored and answered and told, and nothing more can come from here. */
  #isOver(): boolean {
    if (this.#asked.size > 0) return false;
    if (this.#isClosed) return this.#own.size === 0;
    return this.#input.state === "ended" && this.#own.size === 0;
  }

  /** Takes what the client sends, until it sends no more. What is wrong with it ends the stream. */
  async #read(
    id: SessionId,
    first: StreamMessageRequest,
    frames: AsyncIterator<StreamMessageRequest>,
  ): Promise<void> {
    try {
      await this.#take(id, first);
      for (let next = await frames.next(); !next.done; next = await frames.next()) {
        await this.#take(id, next.value);
      }
      this.#input = { state: "ended" };
    } catch (error) {
      this.#input = { state: "failed", error };
    }
    this.#bell.ring();
  }

  async #take(id: SessionId, { sessionId, payload }: StreamMessageRequest): Promise<void> {
    if (sessionId !== "" && sessionId !== id) {
      const description = `is "${sessionId.slice(0, 64)}"; this stream is of session "${id}"`;
      throw invalid("go on with the stream", [{ field: "session_id", description }]);
    }
    if (payload.case === "heartbeat") {
      await this.#parts.sessions.touch(id);
      await this.#side.put({ payload: { case: "heartbeat", value: {} } }, this.#call.signal);
    } else if (payload.case === "message") {
      const draft = draftOf(payload.value);
      await this.#store(id, { ...draft, id: draft.id === "" ? Bun.randomUUIDv7() : draft.id });
    }
  }

  async #store(id: SessionId, draft: ReturnType<typeof draftOf>): Promise<void> {
    this.#own.add(draft.id);
    if (draft.role === "user") this.#asked.add(draft.id);
    const { message, as, turn } = await this.#parts.chat.send(
      id,
      { draft, idempotencyKey: "" },
      askedBy(this.#call),
    );
    if (as === "new") return;
    this.#own.delete(draft.id);
    if (turn === undefined || turn.over !== undefined) this.#asked.delete(draft.id);
    const event = await this.#eventOf(message);
    // It has its place behind this stream: who resumes must not go back to it.
    if (event !== undefined) await this.#side.put(eventFrame(event, ""), this.#call.signal);
  }

  /** The event of a message that was stored before, while the log has it. */
  async #eventOf({ sessionId, id, at }: Message): Promise<LogEvent | undefined> {
    const { log } = this.#parts;
    const filter = { sessionId, types: ["message_created"] as const, endTime: at + 1 };
    const after = await log.positionAt({ kind: "time", time: at });
    for await (const item of log.follow({ after, filter, signal: this.#call.signal })) {
      if (item.kind === "event" && item.event.data?.message_id === id) return item.event;
    }
    return undefined;
  }
}

type Arrival = { readonly kind: "event"; readonly event: LogEvent } | { readonly kind: "end" };

/** What a reader of the log brings, one at a time, without anybody waiting for it. */
class Arrivals {
  readonly #items: AsyncGenerator<LogItem, void, undefined>;
  readonly #ring: () => void;
  #arrived: Arrival | undefined;
  #failed: { readonly error: unknown } | undefined;
  #isWaiting = false;

  constructor(items: AsyncGenerator<LogItem, void, undefined>, ring: () => void) {
    this.#items = items;
    this.#ring = ring;
  }

  /** What has come, once; asks for the next when there is nothing. Throws what the reader has failed with. */
  take(): Arrival | undefined {
    if (this.#failed !== undefined) throw this.#failed.error;
    const arrived = this.#arrived;
    this.#arrived = undefined;
    if (arrived === undefined && !this.#isWaiting) this.#ask();
    return arrived;
  }

  stop(): void {
    void this.#items.return();
  }

  #ask(): void {
    this.#isWaiting = true;
    this.#items.next().then(
      ({ done, value }) => {
        this.#isWaiting = false;
        if (done || value === undefined) this.#arrived = { kind: "end" };
        else if (value.kind === "event") this.#arrived = value;
        this.#ring();
      },
      (error: unknown) => {
        this.#isWaiting = false;
        this.#failed = { error };
        this.#ring();
      },
    );
  }
}

/** Frames that all streams of a session get: encoded once, and kept for as long as one of them has it. */
const messageFrames = new WeakMap<LogEvent, Promise<Encoded | undefined> | WeakRef<Encoded>>();
const eventFrames = new WeakMap<LogEvent, WeakRef<Encoded>>();

/** The frame of a message; `undefined` when retention has removed it. */
async function messageFrame(event: LogEvent, read: () => Promise<Message>): Promise<Encoded | undefined> {
  const known = messageFrames.get(event);
  const kept = known instanceof WeakRef ? known.deref() : known;
  if (kept !== undefined) return await kept;
  const making = readFrame(read);
  messageFrames.set(event, making);
  try {
    const frame = await making;
    if (frame !== undefined) messageFrames.set(event, new WeakRef(frame));
    return frame;
  } catch (error) {
    messageFrames.delete(event);
    throw error;
  }
}

async function readFrame(read: () => Promise<Message>): Promise<Encoded | undefined> {
  try {
    const value = toWireMessage(await read());
    return encode(StreamMessageResponseSchema, { payload: { case: "message", value } });
  } catch (error) {
    if (Failure.from(error)?.kind === "not_found") return undefined;
    throw error;
  }
}

/** @param cursor empty: the event is an acknowledgement, and no place to resume from */
function eventFrame(event: LogEvent, cursor: string): Encoded {
  const known = cursor === "" ? undefined : eventFrames.get(event)?.deref();
  if (known !== undefined) return known;
  const frame = encode(StreamMessageResponseSchema, {
    payload: { case: "event", value: toWireEvent(event, cursor) },
  });
  if (cursor !== "") eventFrames.set(event, new WeakRef(frame));
  return frame;
}
