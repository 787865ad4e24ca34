import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { Failure, invalid } from "../failure.ts";
import {
  type Activity,
  activeSession,
  activityAt,
  activityTable,
  knownSession,
  type Session,
  type SessionId,
  sessionEvent,
  sessionTable,
} from "../sessions/session.ts";
import { type Answer, answered, answerOf, answerTable, type OnceKey, onceKey } from "../store/answers.ts";
import { changed, type Decision, type Listing, put, type Store, unchanged } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import {
  type Draft,
  draftViolations,
  type Message,
  type MessageLimits,
  messageKey,
  messageTable,
  sameMessage,
} from "./message.ts";

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
  async send(
    id: SessionId,
    sent: { readonly draft: Draft; readonly idempotencyKey: string },
    call: Call,
  ): Promise<Message> {
    const { draft, idempotencyKey: key } = sent;
    const violations = draftViolations(draft, this.#options.limits);
    if (violations.length > 0) throw invalid("send a message", violations);
    const once = key === "" ? undefined : onceKey(key, { kind: "send_message", scope: id, content: draft });
    const message = {
      draft: { ...draft, id: draft.id === "" ? Bun.randomUUIDv7() : draft.id },
      once,
      at: this.#options.clock(),
      actor: call.actor,
      correlationId: call.correlationId,
      limits: this.#options.limits,
      noticeMs: this.#options.noticeMs,
    };
    const stored = await this.#store.change(
      {
        session: { table: sessionTable, key: id },
        activity: { table: activityTable, key: id },
        // A message id that the server has just made can't be there yet.
        before: { table: messageTable, key: draft.id === "" ? undefined : messageKey(id, draft.id) },
        answer: { table: answerTable, key: once?.row },
      },
      (loaded) => sendMessage(loaded, { ...message, sessionId: id }),
    );
    if ("message" in stored) return stored.message;
    const first = await this.#store.get(messageTable, messageKey(id, stored.again));
    if (first !== undefined) return first;
    throw new Failure("not_found", `Cannot get message "${stored.again}": it was removed`);
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

interface Sending {
  readonly sessionId: SessionId;
  readonly draft: Draft;
  readonly once: OnceKey | undefined;
  readonly at: Instant;
  readonly actor: string;
  readonly correlationId: string;
  readonly limits: MessageLimits;
  readonly noticeMs: number;
}

/** The stored message, or the id of the one that the same request stored before. */
function sendMessage(
  loaded: {
    readonly session: Session | undefined;
    readonly activity: Activity | undefined;
    readonly before: Message | undefined;
    readonly answer: Answer | undefined;
  },
  sending: Sending,
): Decision<{ readonly message: Message } | { readonly again: string }> {
  const { draft, once, at, sessionId: id } = sending;
  // What was stored is answered also when the session has been closed since.
  const again = once && answered(loaded.answer, once, at);
  if (again !== undefined) return unchanged({ again });
  if (loaded.before !== undefined) {
    const message = sameMessage(loaded.before, draft);
    return changed({ message }, once ? [put(answerTable, answerOf(once, message.id, at))] : []);
  }
  const session = activeSession(loaded.session, { id, doing: "send a message to session" });
  const count = loaded.activity?.messageCount ?? 0;
  if (count >= sending.limits.maxPerSession) {
    throw new Failure(
      "resource_exhausted",
      `Cannot send a message to session "${session.id}": it has ${count} messages, and ${sending.limits.maxPerSession} is the most`,
      { reason: "TOO_MANY_MESSAGES", metadata: { limit: String(sending.limits.maxPerSession) } },
    );
  }
  const activity = activityAt(session, at, { before: loaded.activity, noticeMs: sending.noticeMs });
  const message: Message = { ...draft, sessionId: session.id, ordinal: count + 1, at };
  return changed(
    { message },
    [
      put(messageTable, message),
      put(activityTable, { ...activity, messageCount: message.ordinal }),
      ...(once ? [put(answerTable, answerOf(once, message.id, at))] : []),
    ],
    [
      sessionEvent(session, {
        type: "message_created",
        source: "orchestrator.grpc",
        at,
        actor: sending.actor,
        correlationId: sending.correlationId,
        data: { message_id: message.id, role: message.role, ordinal: String(message.ordinal) },
      }),
    ],
  );
}
