import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { type Answer, answered, answerOf, answerTable, type OnceKey } from "../store/answers.ts";
import { type Counter, counterTable, moved } from "../store/counters.ts";
import { changed, type Decision, put, unchanged } from "../store/store.ts";
import { holdsBesideContainers } from "./holdings.ts";
import {
  type Activity,
  activityAt,
  activityTable,
  type Closing,
  knownSession,
  openSessions,
  type Session,
  type SessionId,
  sessionEvent,
  sessionTable,
  type TimeOut,
} from "./session.ts";

/** The part that speaks in events that a session call made; clients know it by this name. */
export const sessionSource = "orchestrator.grpc";

/** The same of a call of GatewayService. */
export const gatewaySource = "gateway.grpc";

/** What every rule is told about the change that it decides on. */
export interface Deciding {
  readonly at: Instant;
  readonly actor: string;
  readonly correlationId: string;
}

/** A new session, or the id of the one that the same request has made before. */
export function createSession(
  loaded: { readonly open: Counter | undefined; readonly answer: Answer | undefined },
  session: Session,
  create: Deciding & {
    readonly once: OnceKey | undefined;
    readonly maxSessions: number;
    readonly noticeMs: number;
  },
): Decision<SessionId> {
  const before = create.once && answered(loaded.answer, create.once, create.at);
  if (before !== undefined) return unchanged(before as SessionId); // answers of this kind are made below, from an id
  const open = loaded.open?.value ?? 0;
  if (open >= create.maxSessions) {
    throw new Failure(
      "resource_exhausted",
      `Cannot create session "${session.metadata.name}": ${open} sessions are open, and ${create.maxSessions} is the most; close some`,
      { reason: "TOO_MANY_SESSIONS", metadata: { limit: String(create.maxSessions) } },
    );
  }
  return changed(
    session.id,
    [
      put(sessionTable, session),
      put(activityTable, activityAt(session, create.at, { before: undefined, noticeMs: create.noticeMs })),
      put(counterTable, moved(loaded.open, openSessions, 1)),
      ...(create.once ? [put(answerTable, answerOf(create.once, session.id, create.at))] : []),
    ],
    [
      happened(session, create, {
        type: "session_created",
        source: session.gateway === undefined ? sessionSource : gatewaySource,
        data: { name: session.metadata.name },
      }),
    ],
  );
}

/** The session with `patch` applied; nothing happens when nothing differs. */
export function updateSession(
  loaded: { readonly session: Session; readonly activity: Activity | undefined },
  patch: (session: Session) => Session,
  update: Deciding & { readonly noticeMs: number },
): Decision<Session> {
  const { session } = loaded;
  const patched = patch(session);
  const fields = changedFields(session, patched);
  const activity = activityAt(patched, update.at, {
    before: loaded.activity,
    noticeMs: update.noticeMs,
  });
  if (fields.length === 0) return changed(session, [put(activityTable, activity)]);
  const next: Session = { ...patched, updatedAt: update.at };
  return changed(
    next,
    [put(sessionTable, next), put(activityTable, activity)],
    [happened(next, update, { type: "session_updated", data: { fields: fields.join(",") } })],
  );
}

/**
 * Begins the end of a session: one that has nothing in the engine is closed at once, the others when that is removed.
 * Closing twice is what a retry looks like, and changes nothing.
 */
export function closeSession(
  loaded: {
    readonly session: Session;
    readonly activity: Activity | undefined;
    readonly open: Counter | undefined;
  },
  close: Deciding & { readonly reason: string; readonly source: string },
): Decision<Session> {
  const { session } = loaded;
  if (session.life.state !== "active") return unchanged(session);
  const closing: Closing = { reason: close.reason, by: close.actor, since: close.at };
  if (session.containerIds.length === 0 && !holdsBesideContainers(session)) {
    return closed(loaded, closing, close);
  }
  const next: Session = { ...session, life: { state: "closing", ...closing }, updatedAt: close.at };
  return changed(
    next,
    [put(sessionTable, next), ...idleNoMore(loaded.activity)],
    [
      happened(next, close, {
        type: "session_updated",
        source: close.source,
        data: { state: "closing", reason: close.reason },
      }),
    ],
  );
}

/** Ends a closing session whose containers are gone, and all else that it had in the engine; one that has some left stays as it is, for another look. */
export function finishClosing(
  loaded: {
    readonly session: Session | undefined;
    readonly activity: Activity | undefined;
    readonly open: Counter | undefined;
  },
  finish: Deciding & { readonly id: SessionId; readonly source: string },
): Decision<Session> {
  const session = knownSession(loaded.session, { id: finish.id, doing: "close session" });
  if (session.life.state !== "closing" || session.containerIds.length > 0) return unchanged(session);
  return closed({ ...loaded, session }, session.life, { ...finish, actor: session.life.by });
}

/** Tells that a session is about to end, once. */
export function announceExpiry(
  session: Session,
  activity: Activity,
  announce: Deciding & { readonly expiresAt: Instant; readonly reason: TimeOut },
): Decision<void> {
  return changed(
    undefined,
    [put(activityTable, { ...activity, dueAt: announce.expiresAt })],
    [
      happened(session, announce, {
        type: "session_expiring",
        source: "sessions",
        data: { expires_at: new Date(announce.expiresAt).toISOString(), reason: announce.reason },
      }),
    ],
  );
}

function closed(
  loaded: {
    readonly session: Session;
    readonly activity: Activity | undefined;
    readonly open: Counter | undefined;
  },
  closing: Closing,
  close: Deciding & { readonly source: string },
): Decision<Session> {
  const { reason, by, since } = closing;
  const next: Session = {
    ...loaded.session,
    holdings: undefined,
    life: { state: "closed", reason, by, since, at: close.at },
    updatedAt: close.at,
  };
  return changed(
    next,
    [
      put(sessionTable, next),
      put(counterTable, moved(loaded.open, openSessions, -1)),
      ...idleNoMore(loaded.activity),
    ],
    [
      happened(next, close, {
        type: "session_closed",
        source: close.source,
        data: { reason: closing.reason },
      }),
    ],
  );
}

function idleNoMore(activity: Activity | undefined) {
  return activity === undefined ? [] : [put(activityTable, { ...activity, dueAt: null })];
}

function happened(
  session: Session,
  { at, actor, correlationId }: Deciding,
  event: {
    readonly type: "session_created" | "session_updated" | "session_expiring" | "session_closed";
    readonly source?: string;
    readonly data: Readonly<Record<string, string>>;
  },
) {
  return sessionEvent(session, { source: sessionSource, ...event, at, actor, correlationId });
}

function changedFields(before: Session, after: Session): readonly string[] {
  const parts = [
    ["metadata", before.metadata, after.metadata],
    ["config", before.config, after.config],
    ["preferences", before.preferences, after.preferences],
    ["current_task_id", before.currentTaskId, after.currentTaskId],
    ["task_history", before.taskHistory, after.taskHistory],
  ] as const;
  return parts.filter(([, old, now]) => !Bun.deepEquals(old, now)).map(([name]) => name);
}
