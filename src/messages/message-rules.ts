import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import {
  type Activity,
  activeSession,
  activityAt,
  activityTable,
  type Session,
  type SessionId,
  sessionEvent,
  sessionTable,
} from "../sessions/session.ts";
import { type Answer, answered, answerOf, answerTable, type OnceKey } from "../store/answers.ts";
import { changed, type Decision, put, unchanged } from "../store/store.ts";
import {
  type Draft,
  type Message,
  type MessageLimits,
  messageKey,
  messageTable,
  sameMessage,
} from "./message.ts";

/** What a message that is sent brings along. */
export interface Sending {
  readonly sessionId: SessionId;
  /** With an id. */
  readonly draft: Draft;
  /** Whose id that is: one that was just made is no other message's. */
  readonly idBy: "client" | "server";
  readonly once: OnceKey | undefined;
  readonly at: Instant;
  readonly actor: string;
  readonly correlationId: string;
  readonly limits: MessageLimits;
  readonly noticeMs: number;
  /** The part that speaks in its event: clients know who serves the call that it came by. */
  readonly source: string;
}

/** The rows that `sendMessage` decides on. */
export function messageLoads({ sessionId, draft, idBy, once }: Sending) {
  return {
    session: { table: sessionTable, key: sessionId },
    activity: { table: activityTable, key: sessionId },
    before: { table: messageTable, key: idBy === "server" ? undefined : messageKey(sessionId, draft.id) },
    answer: { table: answerTable, key: once?.row },
  };
}

/** What has become of a message that was sent: it is stored now, or it was before. */
export type Sent =
  | { readonly kind: "stored"; readonly message: Message; readonly session: Session }
  | { readonly kind: "known"; readonly message: Message }
  /** The id of the message that the same request stored before. */
  | { readonly kind: "again"; readonly id: string };

/**
 * Stores a message.
 *
 * Failures: NOT_FOUND, FAILED_PRECONDITION, ALREADY_EXISTS, RESOURCE_EXHAUSTED, as `Messages.send` has them.
 */
export function sendMessage(
  loaded: {
    readonly session: Session | undefined;
    readonly activity: Activity | undefined;
    readonly before: Message | undefined;
    readonly answer: Answer | undefined;
  },
  sending: Sending,
): Decision<Sent> {
  const { draft, once, at, sessionId: id } = sending;
  // What was stored is answered also when the session has been closed since.
  const again = once && answered(loaded.answer, once, at);
  if (again !== undefined) return unchanged({ kind: "again", id: again });
  if (loaded.before !== undefined) {
    const message = sameMessage(loaded.before, draft);
    return changed(
      { kind: "known", message },
      once ? [put(answerTable, answerOf(once, message.id, at))] : [],
    );
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
    { kind: "stored", message, session },
    [
      put(messageTable, message),
      put(activityTable, { ...activity, messageCount: message.ordinal }),
      ...(once ? [put(answerTable, answerOf(once, message.id, at))] : []),
    ],
    [
      sessionEvent(session, {
        type: "message_created",
        source: sending.source,
        at,
        actor: sending.actor,
        correlationId: sending.correlationId,
        data: { message_id: message.id, role: message.role, ordinal: String(message.ordinal) },
      }),
    ],
  );
}
