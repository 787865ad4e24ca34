import type { Instant, NewEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import type { Table } from "../store/table.ts";

export type SessionId = string & { readonly __brand: "SessionId" };

export interface Session {
  readonly id: SessionId;
  readonly metadata: SessionMetadata;
  readonly config: SessionConfig;
  readonly preferences: Preferences;
  readonly currentTaskId: string;
  readonly taskHistory: readonly string[];
  readonly life: Life;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  /** In the order of their creation; those that were removed are not in it. */
  readonly containerIds: readonly string[];
  /** Absent: nothing. */
  readonly holdings?: Holdings | undefined;
  /** What a user interface has said of it, where it was opened by one. */
  readonly gateway?: GatewaySide | undefined;
}

/** A gateway session's own part of its session; all else of it is the session's. */
export interface GatewaySide {
  readonly clientType: string;
  readonly clientVersion: string;
  readonly config: GatewayConfig;
}

export interface GatewayConfig {
  /** Whether answers are sent while they are made. */
  readonly enableStreaming: boolean;
  /** Of a client's message, in UTF-8. */
  readonly maxMessageBytes: number;
  /** Bytes of UTF-8; 0: as the assistant sends it. */
  readonly chunkSize: number;
  readonly chunkDelayNs: bigint;
  /** Whether a chunk holds only what is new. */
  readonly enableDelta: boolean;
  readonly requireAuth: boolean;
  /** Empty: any. */
  readonly allowedOrigins: readonly string[];
}

/** What a session has of the engine besides its containers' ids. */
export interface Holdings {
  /** The limits of its containers together; swap without end counts as more than any number of the wire. */
  readonly limits: ResourceLimits;
  /** Ids of those containers that have a name of their own, by it. */
  readonly names: Readonly<Record<string, string>>;
  /** Whether the engine may have a network of its own for it. */
  readonly network: "none" | "own";
  /** Its volumes that the engine may have, by the names that clients gave them. */
  readonly volumes: readonly string[];
}

export interface SessionMetadata {
  readonly name: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ownerId: string;
  readonly tags: readonly string[];
}

export interface SessionConfig {
  readonly maxContainers: number;
  /** Nanoseconds from creation; 0n is without end. */
  readonly maxDurationNs: bigint;
  /** Nanoseconds without activity; 0n is without end. */
  readonly idleTimeoutNs: bigint;
  readonly limits: ResourceLimits;
  /** Empty: any image. */
  readonly allowedImages: readonly string[];
  readonly policy: SessionPolicy;
}

export interface ResourceLimits {
  readonly nanoCpu: bigint;
  readonly memoryBytes: bigint;
  readonly memorySwap: bigint;
  readonly pidsLimit: bigint;
}

export interface SessionPolicy {
  readonly allowNetwork: boolean;
  readonly allowedNetworks: readonly string[];
  readonly allowVolumeMount: boolean;
  readonly allowedPaths: readonly string[];
  readonly requireApproval: boolean;
}

interface Preferences {
  readonly timezone: string;
  readonly language: string;
  readonly theme: string;
  readonly notifications: boolean;
}

/** Why a session ends, and by whom. */
export interface Closing {
  readonly reason: string;
  readonly by: string;
  /** When the closing began. */
  readonly since: Instant;
}

type Life =
  | { readonly state: "active" }
  /** It takes no more work; its containers are being removed. */
  | ({ readonly state: "closing" } & Closing)
  | ({ readonly state: "closed"; readonly at: Instant } & Closing);

/** What changes with every use of a session, kept apart so that a message doesn't rewrite the session. */
export interface Activity {
  readonly sessionId: SessionId;
  readonly lastAt: Instant;
  readonly messageCount: number;
  /** When the session ends if nothing more happens; `null`: never. */
  readonly expiresAt: Instant | null;
  /** When expiry has to look at it next: to announce the end, then to bring it. */
  readonly dueAt: Instant | null;
}

export const sessionTable: Table<Session> = {
  name: "sessions",
  bigints: "some",
  key: (session) => session.id,
  columns: {
    state: (session) => session.life.state,
    ownerId: (session) => session.metadata.ownerId,
    closedAt: (session) => (session.life.state === "closed" ? session.life.at : null),
    gateway: (session) => (session.gateway === undefined ? null : "yes"),
  },
  labels: (session) => session.metadata.labels,
};

export const activityTable: Table<Activity> = {
  name: "activities",
  bigints: "none",
  key: (activity) => activity.sessionId,
  columns: { dueAt: (activity) => activity.dueAt },
};

/** The counter of sessions that are not closed. */
export const openSessions = "open_sessions";

/**
 * The activity of a session that was used at `at`: it ends at the earlier of idle time and duration, and its end is
 * announced before that, unless `before` shows that this end was announced already.
 */
export function activityAt(
  session: Session,
  at: Instant,
  options: { readonly before: Activity | undefined; readonly noticeMs: number },
): Activity {
  const { before, noticeMs } = options;
  const expiresAt = expiryOf(session, at);
  return {
    sessionId: session.id,
    lastAt: at,
    messageCount: before?.messageCount ?? 0,
    expiresAt,
    dueAt:
      expiresAt === null || isAnnounced(before, expiresAt)
        ? expiresAt
        : Math.max(at, expiresAt - noticeFor(session, noticeMs)),
  };
}

/** What ends a session that nobody closes, by its name in the session's config. */
export type TimeOut = "max_duration_ns" | "idle_timeout_ns";

/** What `session` is found to need at `now`. */
export function expiryStep(
  session: Session,
  activity: Activity,
  now: Instant,
):
  | { readonly kind: "none" }
  | { readonly kind: "announce"; readonly expiresAt: Instant; readonly reason: TimeOut }
  | { readonly kind: "end"; readonly reason: string } {
  if (session.life.state !== "active" || activity.expiresAt === null || activity.dueAt === null)
    return { kind: "none" };
  if (now >= activity.expiresAt) return { kind: "end", reason: expiryReason(session, activity) };
  if (now >= activity.dueAt)
    return { kind: "announce", expiresAt: activity.expiresAt, reason: timeOutOf(session, activity) };
  return { kind: "none" };
}

/**
 * The session, if it takes work.
 *
 * Failures: NOT_FOUND when there is none, FAILED_PRECONDITION when it is closing or closed.
 */
export function activeSession(
  session: Session | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Session {
  const found = knownSession(session, wanted);
  const { life } = found;
  if (life.state === "active") return found;
  const since = new Date(life.state === "closed" ? life.at : life.since).toISOString();
  throw new Failure(
    "failed_precondition",
    `Cannot ${wanted.doing} "${wanted.id}": the session is ${life.state} since ${since} (${life.reason || "no reason given"})`,
    { reason: "SESSION_CLOSED", metadata: { session_id: wanted.id, state: life.state } },
  );
}

/** The session. Failures: NOT_FOUND when there is none. */
export function knownSession(
  session: Session | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Session {
  if (session !== undefined) return session;
  throw new Failure("not_found", `Cannot ${wanted.doing} "${wanted.id}": there is no session with this id`, {
    reason: "SESSION_NOT_FOUND",
    metadata: { session_id: wanted.id },
  });
}

/** An event about `session`, with what all of them carry. */
export function sessionEvent(
  session: Session,
  event: Omit<NewEvent, "labels" | "sessionId" | "userId">,
): NewEvent {
  return {
    ...event,
    sessionId: session.id,
    labels: session.metadata.labels,
    ...(session.metadata.ownerId === "" ? {} : { userId: session.metadata.ownerId }),
  };
}

const nsPerMs = 1_000_000n;

/** After its announcement an end is due when it comes; see announceExpiry(). */
function isAnnounced(activity: Activity | undefined, expiresAt: Instant): boolean {
  return activity?.expiresAt === expiresAt && activity.dueAt === expiresAt;
}

function expiryOf(session: Session, lastAt: Instant): Instant | null {
  const ends: Instant[] = [];
  const { maxDurationNs, idleTimeoutNs } = session.config;
  if (maxDurationNs > 0n) ends.push(session.createdAt + Number(maxDurationNs / nsPerMs));
  if (idleTimeoutNs > 0n) ends.push(lastAt + Number(idleTimeoutNs / nsPerMs));
  return ends.length === 0 ? null : Math.min(...ends);
}

/** A short-lived session is announced when a tenth of its time is left. */
function noticeFor(session: Session, noticeMs: number): number {
  const times = [session.config.maxDurationNs, session.config.idleTimeoutNs].filter((time) => time > 0n);
  const shortest = Math.min(...times.map((time) => Number(time / nsPerMs)));
  return Math.min(noticeMs, Math.floor(shortest / 10));
}

function expiryReason(session: Session, activity: Activity): string {
  const { maxDurationNs, idleTimeoutNs } = session.config;
  return timeOutOf(session, activity) === "max_duration_ns"
    ? `max_duration_ns is over: it was open for ${Number(maxDurationNs) / 1e9} s`
    : `idle_timeout_ns is over: nothing happened for ${Number(idleTimeoutNs) / 1e9} s`;
}

function timeOutOf(session: Session, activity: Activity): TimeOut {
  const { maxDurationNs } = session.config;
  const lived =
    maxDurationNs > 0n && activity.expiresAt === session.createdAt + Number(maxDurationNs / nsPerMs);
  return lived ? "max_duration_ns" : "idle_timeout_ns";
}
