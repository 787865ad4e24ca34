import type { Instant, NewEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import type { ContainerFacts, ExecSpec, RuntimeId } from "../runtime/runtime.ts";
import {
  type ResourceLimits,
  type Session,
  type SessionId,
  sessionEvent,
  sessionTable,
} from "../sessions/session.ts";
import type { Table } from "../store/table.ts";

export type ContainerId = string & { readonly __brand: "ContainerId" };

export interface Container {
  readonly id: ContainerId;
  readonly sessionId: SessionId;
  /** Its name in the engine. */
  readonly name: string;
  /** As the client gave it, with defaults filled in. */
  readonly config: ContainerConfig;
  readonly createdAt: Instant;
  /** The row of the answer to its request's idempotency key; empty without one. It goes when the creation fails. */
  readonly answerRow: string;
  /** Who has approved it; absent where nobody had to, or has not yet. */
  readonly approvedBy?: string | undefined;
  /** When it was made out of a prepared one, which the engine had started before that. */
  readonly claimedAt?: Instant;
  readonly life: ContainerLife;
}

/** When its image is fetched. */
export type PullPolicy = "missing" | "never" | "always";

export interface ContainerConfig {
  readonly image: string;
  /** How the session's other containers find it, and its hostname; empty: it has none. Unique in its session. */
  readonly name: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly mounts: readonly MountConfig[];
  readonly ports: readonly PortConfig[];
  readonly networkMode: string;
  readonly networks: readonly string[];
  readonly limits: ResourceLimits;
  readonly restart: { readonly name: string; readonly maximumRetryCount: number; readonly timeoutNs: bigint };
  readonly readOnlyRootfs: boolean;
  readonly removeOnStop: boolean;
}

export interface MountConfig {
  readonly type: "bind" | "volume" | "tmpfs" | "unspecified";
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface PortConfig {
  readonly containerPort: number;
  readonly hostPort: number;
  readonly protocol: string;
  readonly hostIp: string;
}

/** What the engine was last seen to say, or that it hasn't said anything yet. */
export type ContainerLife =
  /** Nobody has approved it yet, and nothing of it is in the engine. */
  | { readonly state: "waiting"; readonly pull: PullPolicy }
  /** The intent is durable; the engine may or may not have it. */
  | { readonly state: "creating" }
  | ({ readonly state: "created" | "running" | "paused" | "removing" } & Made)
  /** It has ended, for good or until its restart policy starts it again. */
  | ({
      readonly state: "exited" | "restarting";
      readonly exitedAt: Instant;
      readonly exitCode: number;
    } & Made);

/** What the engine has said of a container that it has. */
export type MadeLife = Extract<ContainerLife, Made>;

/** Whether the engine has it, as far as is known. */
export function isMade(life: ContainerLife): life is MadeLife {
  return life.state !== "creating" && life.state !== "waiting";
}

interface Made {
  readonly runtimeId: RuntimeId;
  readonly imageDigest: string;
  readonly startedAt: Instant | null;
  readonly health: "none" | "starting" | "healthy" | "unhealthy";
  /** Whether a process of it was killed for want of memory since it was last started, the main one or another. */
  readonly oomKilled: boolean;
  /** The engine's words, where there are any. */
  readonly reason: string;
  /** With the host ports that were chosen. */
  readonly ports: readonly PortConfig[];
}

export const containerTable: Table<Container> = {
  name: "containers",
  bigints: "some",
  key: (container) => container.id,
  columns: {
    sessionId: (container) => container.sessionId,
    state: (container) => container.life.state,
  },
  labels: (container) => container.config.labels,
};

/** The counter of containers that are not removed. */
export const openContainers = "open_containers";

/** A container's labels in the engine: by them an install finds its own, and only its own. */
export const engineLabels = {
  install: "baaaht.install",
  session: "baaaht.session",
  /** On those that were made before their session was known, and have no session's label. */
  prepared: "baaaht.prepared",
  container: "baaaht.container",
} as const;

/** A container's name in the engine, which stands for the engine's id wherever that is not known. */
export function engineName(id: ContainerId): RuntimeId {
  return `baaaht-${id}` as RuntimeId; // by Runtime's contract a name works wherever an id does
}

/** The engine's name of a session's own network. */
export function networkName(sessionId: SessionId): string {
  return `baaaht-${sessionId}`;
}

/** The engine's name of a session's volume: another session's of the same name is another volume. */
export function volumeName(sessionId: SessionId, name: string): string {
  return `baaaht-${sessionId}-${name}`;
}

/** What a change of a container's row has to load: whether the row is still there, and its session. */
export function loadedWith(container: Pick<Container, "id" | "sessionId">) {
  return {
    row: { table: containerTable, key: container.id },
    session: { table: sessionTable, key: container.sessionId },
  } as const;
}

/** When it was last started, as far as its session is concerned. */
export function startOf(container: Pick<Container, "claimedAt">, facts: ContainerFacts): Instant | null {
  if (facts.startedAt === undefined) return null;
  return Math.max(facts.startedAt, container.claimedAt ?? 0);
}

/** A command in a container as the engine has to be told of it: one that was prepared knows nothing of its own config. */
export function commandIn<Start extends Pick<ExecSpec, "env" | "workingDir">>(
  { claimedAt, config }: Container,
  start: Start,
): Start {
  if (claimedAt === undefined) return start;
  const workingDir = start.workingDir === "" ? config.workingDir : start.workingDir;
  return { ...start, env: { ...config.env, ...start.env }, workingDir };
}

/** Failures: NOT_FOUND when there is none. */
export function knownContainer(
  container: Container | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Container {
  if (container !== undefined) return container;
  throw new Failure(
    "not_found",
    `Cannot ${wanted.doing} "${wanted.id}": there is no container with this id (it may have been removed; the log has its story)`,
    { reason: "CONTAINER_NOT_FOUND", metadata: { container_id: wanted.id } },
  );
}

/**
 * The engine's id of a container that the engine has made.
 *
 * Failures: FAILED_PRECONDITION while it is still being made, or waits for approval.
 */
export function madeContainer(container: Container, doing: string): RuntimeId {
  const { life } = container;
  if (life.state === "waiting") {
    throw new Failure("failed_precondition", `Cannot ${doing} "${container.id}": it waits for approval`, {
      reason: "CONTAINER_WAITS",
      metadata: { container_id: container.id },
    });
  }
  if (isMade(life)) return life.runtimeId;
  throw new Failure("failed_precondition", `Cannot ${doing} "${container.id}": it is still being created`);
}

/**
 * The engine's id of a container in which commands can run, as far as is known: whether it still does, the engine says.
 *
 * Failures: FAILED_PRECONDITION when it has not begun or has ended, or is frozen.
 */
export function runningContainer(container: Container, doing: string): RuntimeId {
  const id = madeContainer(container, doing);
  const { state } = container.life;
  if (state === "running" || state === "restarting") return id;
  throw new Failure("failed_precondition", `Cannot ${doing} "${container.id}": it is ${state}, not running`, {
    reason: "CONTAINER_NOT_RUNNING",
    metadata: { container_id: container.id, state },
  });
}

/** An event about a container, with what all of them carry: also its session's labels and owner as they are now. */
export function containerEvent(
  about: { readonly id: ContainerId; readonly sessionId: SessionId; readonly session: Session | undefined },
  event: Omit<NewEvent, "labels" | "sessionId" | "containerId" | "userId">,
): NewEvent {
  const { id, sessionId, session } = about;
  const ofSession = session === undefined ? { ...event, sessionId } : sessionEvent(session, event);
  return { ...ofSession, containerId: id };
}
