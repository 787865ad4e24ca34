import { Failure } from "../failure.ts";
import type { Messages } from "../messages/messages.ts";
import type { SessionId } from "../sessions/session.ts";
import { errorWords } from "./assistant-mail.ts";
import type { Assistants } from "./assistants.ts";
import type { Mail } from "./mail.ts";
import type { OpenEntry, OpenTurns } from "./open-turns.ts";
import { failed, isRunning } from "./turn.ts";
import type { Turns } from "./turns.ts";

export interface AnswersOptions {
  readonly turns: Turns;
  readonly open: OpenTurns;
  readonly assistants: Assistants;
  readonly messages: Messages;
  readonly monotonic: () => number;
  /** Of all answers that are not stored yet, in bytes. */
  readonly maxHeldBytes: number;
  /** Counts as activity of a session; as `Sessions.touch`. */
  readonly touch: (id: SessionId) => Promise<void>;
  /** Hears of frames that count for nothing. */
  readonly odd: (why: string, mail: Mail) => void;
  readonly trouble: (what: string, details: Readonly<Record<string, unknown>>) => void;
}

/** How often what an assistant sends counts as activity of the session, in milliseconds. */
const touchEveryMs = 100;

/** Takes what assistants send, and stores the answers that are whole. */
export class Answers {
  readonly #options: AnswersOptions;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** Takes a frame of an agent, if it is for chat. One that fits no turn of its sender changes nothing. */
  take(mail: Mail): "taken" | "not_mine" {
    const { message, agent } = mail;
    const { type, metadata } = message;
    if (type !== "data" && type !== "error" && type !== "event" && type !== "heartbeat") return "not_mine";
    if (metadata.correlationId === "") return "not_mine";
    const entry = this.#options.open.byTicket(metadata.correlationId);
    if (entry === undefined) return this.#odd("no turn has this correlation_id any more", mail);
    if (entry.live.assistantId !== agent.id) return this.#odd("another assistant has this turn", mail);
    if (metadata.sessionId !== "" && metadata.sessionId !== entry.live.sessionId)
      return this.#odd("its session_id is not the turn's", mail);
    this.#heard(entry);
    if (type === "data") this.#takeData(entry, mail);
    if (type === "error") this.#end(entry, failed("ASSISTANT_ERROR", errorWords(message)));
    return "taken";
  }

  /** Stores an answer that is whole; one that can't be stored now is tried again by whoever looks after turns. */
  async store(entry: OpenEntry): Promise<void> {
    const { whole, turn, live } = entry;
    if (whole === undefined || !isRunning(turn)) return;
    const { turns, messages } = this.#options;
    whole.state = "storing";
    try {
      const content = `${live.pieces.map(({ text }) => text).join("")}${whole.last}`;
      const draft = {
        id: "",
        role: "assistant" as const,
        content,
        metadata: {
          containerId: "",
          toolName: "",
          toolCallId: "",
          extra: { reply_to: turn.messageId, ...whole.about },
        },
      };
      const by = {
        actor: `agent:${turn.life.assistantId}`,
        correlationId: turn.correlationId,
        signal: never,
      };
      const sent = { draft, idempotencyKey: "", source: "agent.grpc" };
      await turns.answer(entry, messages.sending(live.sessionId, sent, by));
    } catch (error) {
      whole.state = "refused";
      if (error instanceof Failure && error.kind === "invalid_argument") {
        this.#end(entry, failed("ANSWER_REFUSED", `the answer can't be stored: ${error.message}`));
        return;
      }
      this.#options.trouble("an answer can't be stored yet", { message: turn.messageId, error });
    }
  }

  /** A session whose question is being answered is in use. */
  #heard(entry: OpenEntry): void {
    const nowMs = this.#options.monotonic();
    entry.heardMs = nowMs;
    if (nowMs - entry.touchedMs < touchEveryMs) return;
    entry.touchedMs = nowMs;
    void this.#options.touch(entry.live.sessionId); // which does not fail because it can't be written
  }

  #takeData(entry: OpenEntry, mail: Mail): void {
    const { payload } = mail.message;
    if (payload.kind !== "data") {
      this.#odd("it has no data_message", mail);
      return;
    }
    const { open, maxHeldBytes } = this.#options;
    if (open.heldBytes + payload.data.byteLength > maxHeldBytes) {
      const words = `the answer is refused: answers that are not stored yet have ${open.heldBytes} bytes, and ${maxHeldBytes} is the most`;
      this.#end(entry, failed("ANSWER_REFUSED", words));
      return;
    }
    const arrival = entry.incoming.take(payload);
    switch (arrival.kind) {
      case "piece":
        open.add(entry, arrival.text, arrival.bytes);
        return;
      case "whole":
        open.hold(entry, arrival.bytes);
        entry.whole = { last: arrival.text, about: arrival.about, state: "storing" };
        void this.store(entry); // it never rejects
        return;
      case "odd":
        this.#odd(arrival.why, mail);
        return;
      case "refused":
        this.#end(entry, failed("ANSWER_REFUSED", `the answer is refused: ${arrival.why}`));
    }
  }

  #odd(why: string, mail: Mail): "taken" {
    this.#options.odd(why, mail);
    return "taken";
  }

  #end(entry: OpenEntry, end: ReturnType<typeof failed>): void {
    const { turns, trouble } = this.#options;
    const { turn, live } = entry;
    const which = { messageId: turn.messageId, attempt: turn.attempt };
    turns.end(live.sessionId, which, end).catch((error: unknown) => {
      trouble("a turn can't be ended", { message: turn.messageId, error });
    });
  }
}

/** Nobody waits for the storing of an answer, and nothing cuts it off. */
const never = new AbortController().signal;
