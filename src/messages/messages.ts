import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { Failure, invalid } from "../failure.ts";
import { activityTable, knownSession, type SessionId, sessionTable } from "../sessions/session.ts";
import { onceKey } from "../store/answers.ts";
import type { Listing, Store } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import {
  type Draft,
  draftViolations,
  type Message,
  type MessageLimits,
  messageKey,
  messageTable,
} from "./message.ts";
import { messageLoads, type Sending, sendMessage } from "./message-rules.ts";

export interface MessagesOptions {
  readonly store: Store;
  readonly clock: () => Instant;
  readonly limits: MessageLimits;
  /** As SessionsOptions has it. Milliseconds. */
  readonly noticeMs: number;
}

/** What a listing of a session's messages is of. */
export interface MessagePage {
  readonly sessionId: SessionId;
  readonly limit: number;
  readonly after?: PagePlace | undefined;
  readonly order: "oldest_first" | "newest_first";
}

/** A message as a call brings it. */
export interface SentDraft {
  readonly draft: Draft;
  /** Empty: none. */
  readonly idempotencyKey: string;
  /** The part that speaks in its event; absent: the calls of sessions. */
  readonly source?: string;
}

/** Messages of sessions: stored and read. */
export class Messages {
  readonly #options: MessagesOptions;
  readonly #store: Store;

  constructor(options: MessagesOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /**
   * Stores a message; it is durable when this resolves. A draft with the id, or a request with the key, of an earlier one
   * with the same content gives that one again.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION when the session is closing or closed, INVALID_ARGUMENT, ALREADY_EXISTS,
   * RESOURCE_EXHAUSTED when the session has as many messages as it may.
   */
  async send(id: SessionId, sent: SentDraft, call: Call): Promise<Message> {
    return (await this.sendOnce(id, sent, call)).message;
  }

  /** The same, and whether the message is new. */
  async sendOnce(
    id: SessionId,
    sent: SentDraft,
    call: Call,
  ): Promise<{ readonly message: Message; readonly as: "new" | "repeated" }> {
    const sending = this.sending(id, sent, call);
    const outcome = await this.#store.change(messageLoads(sending), (loaded) => sendMessage(loaded, sending));
    if (outcome.kind === "stored") return { message: outcome.message, as: "new" };
    const message = outcome.kind === "again" ? await this.get(id, outcome.id) : outcome.message;
    return { message, as: "repeated" };
  }

  /** A message as it is to be stored. Failures: INVALID_ARGUMENT. */
  sending(id: SessionId, sent: SentDraft, call: Call): Sending {
    const { draft, idempotencyKey: key } = sent;
    const { limits, noticeMs, clock } = this.#options;
    const violations = draftViolations(draft, limits);
    if (violations.length > 0) throw invalid("send a message", violations);
    return {
      sessionId: id,
      draft: { ...draft, id: draft.id === "" ? Bun.randomUUIDv7() : draft.id },
      idBy: draft.id === "" ? "server" : "client",
      once: key === "" ? undefined : onceKey(key, { kind: "send_message", scope: id, content: draft }),
      at: clock(),
      actor: call.actor,
      correlationId: call.correlationId,
      limits,
      noticeMs,
      source: sent.source ?? "orchestrator.grpc",
    };
  }

  /** Failures: NOT_FOUND. */
  async get(sessionId: SessionId, id: string): Promise<Message> {
    const message = await this.#store.get(messageTable, messageKey(sessionId, id));
    if (message !== undefined) return message;
    throw new Failure("not_found", `Cannot get message "${id}": there is none with this id in the session`, {
      reason: "MESSAGE_NOT_FOUND",
      metadata: { session_id: sessionId, message_id: id },
    });
  }

  /** A page of a session's messages. `total` counts all of them. Failures: NOT_FOUND. */
  async list({ sessionId, limit, after, order }: MessagePage): Promise<Listing<Message>> {
    const session = await this.#store.get(sessionTable, sessionId);
    knownSession(session, { id: sessionId, doing: "list the messages of session" });
    const listing = await this.#store.list(messageTable, {
      where: { sessionId },
      orderBy: "ordinal",
      limit,
      after,
      ...(order === "newest_first" ? { descending: true } : {}),
    });
    const total = (await this.#store.get(activityTable, sessionId))?.messageCount ?? 0;
    return { ...listing, total };
  }

  /** The newest messages, oldest of them first. */
  async newest(sessionId: SessionId, limit: number): Promise<readonly Message[]> {
    return (await this.list({ sessionId, limit, order: "newest_first" })).rows.toReversed();
  }
}
