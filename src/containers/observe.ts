import type { NewEvent } from "../events/event.ts";
import type { ContainerFacts } from "../runtime/runtime.ts";
import { type Session, sessionTable } from "../sessions/session.ts";
import { answerTable } from "../store/answers.ts";
import type { Counter } from "../store/counters.ts";
import { counterTable, moved } from "../store/counters.ts";
import { changed, type Decision, put, type RowChange, remove, unchanged } from "../store/store.ts";
import {
  type Container,
  type ContainerLife,
  containerEvent,
  containerTable,
  isMade,
  openContainers,
  startOf,
} from "./container.ts";
import { holdingLess } from "./holding.ts";

/** The part that speaks in events of container calls. */
export const callSource = "orchestrator.grpc";

/** The part that speaks in events of what the engine did by itself. */
export const engineSource = "containers";

/** Who or what made us look at the engine, and when. */
export interface Observing {
  readonly at: number;
  readonly actor: string;
  readonly correlationId: string;
  readonly source: string;
  /** Why, in the words of the events: the reason of a stop, "the engine removed it". */
  readonly reason: string;
}

/** Brings a container's row to what the engine says of it, with an event for each thing that has happened since. */
export function observe(
  loaded: {
    readonly container: Container;
    /** As it is stored now; one that is gone, because it was abandoned, does not come back. */
    readonly row: Container | undefined;
    readonly session: Session | undefined;
  },
  facts: ContainerFacts,
  observing: Observing,
): Decision<Container> {
  const { container } = loaded;
  if (loaded.row === undefined) return unchanged(container);
  const life = lifeOf(facts, container);
  if (Bun.deepEquals(life, container.life)) return unchanged(container);
  const next: Container = { ...container, life };
  const told = { ...observing, session: loaded.session };
  return changed(next, [put(containerTable, next)], stepEvents(container, next, told));
}

/** Forgets a container that the engine no longer has. */
export function forget(
  loaded: {
    readonly container: Container;
    /** As it is stored now; what is gone is not counted again. */
    readonly row: Container | undefined;
    readonly session: Session | undefined;
    readonly open: Counter | undefined;
  },
  forgetting: Observing & { readonly type: "container_removed" | "container_error" },
): Decision<void> {
  const { container, session, open } = loaded;
  if (loaded.row === undefined) return unchanged(undefined);
  const { at, actor, correlationId, source, reason } = forgetting;
  const event = containerEvent(
    { ...container, session },
    {
      type: forgetting.type,
      source,
      at,
      actor,
      correlationId,
      data: { reason, image: container.config.image, state: container.life.state },
      ...(forgetting.type === "container_error" ? { priority: "high" as const } : {}),
    },
  );
  const rows: RowChange[] = [
    remove(containerTable, container.id),
    put(counterTable, moved(open, openContainers, -1)),
  ];
  if (session !== undefined) {
    const containerIds = session.containerIds.filter((id) => id !== container.id);
    const holdings = holdingLess(session, container);
    rows.push(put(sessionTable, { ...session, containerIds, holdings }));
  }
  // The same request may try again what was never made, also when a crash was the reason.
  if (container.life.state === "creating" && container.answerRow !== "") {
    rows.push(remove(answerTable, container.answerRow));
  }
  return changed(undefined, rows, [event]);
}

/** What the engine's facts mean for a row that had `was` before. */
export function lifeOf(
  facts: ContainerFacts,
  container: Pick<Container, "claimedAt" | "life">,
): ContainerLife {
  const was = container.life;
  const startedAt = startOf(container, facts);
  // Engines tell at once that a process was killed, and put it into their facts only when the container has ended.
  const knownBefore = isMade(was) && was.oomKilled && was.startedAt === startedAt;
  const made = {
    runtimeId: facts.id,
    imageDigest: facts.imageDigest,
    startedAt,
    oomKilled: facts.oomKilled || knownBefore,
    health: facts.health,
    reason: facts.error ?? "",
    ports: facts.ports.map(({ containerPort, hostPort, protocol, hostIp }) => ({
      containerPort,
      hostPort,
      protocol,
      hostIp,
    })),
  };
  switch (facts.state) {
    case "exited":
    case "dead":
    case "restarting":
      return {
        ...made,
        state: facts.state === "restarting" ? "restarting" : "exited",
        exitedAt: facts.exitedAt ?? facts.createdAt,
        exitCode: facts.exitCode ?? 0,
      };
    default:
      return { ...made, state: facts.state };
  }
}

function stepEvents(
  before: Container,
  after: Container,
  observing: Observing & { readonly session: Session | undefined },
): readonly NewEvent[] {
  const events: NewEvent[] = [];
  const { at, actor, correlationId, source, reason, session } = observing;
  const add = (type: NewEvent["type"], data: Record<string, string>, priority?: NewEvent["priority"]) =>
    events.push(
      containerEvent(
        { ...after, session },
        { type, source, at, actor, correlationId, data, ...(priority ? { priority } : {}) },
      ),
    );
  const was = before.life;
  const is = after.life;
  if (!isMade(is)) return events;
  if (!isMade(was)) add("container_created", { image: after.config.image, name: after.name });
  const startedBefore = isMade(was) ? was.startedAt : null;
  if (is.startedAt !== null && is.startedAt !== startedBefore)
    add("container_started", { image: after.config.image });
  const hadRunOut = isMade(was) && was.oomKilled && was.startedAt === is.startedAt;
  if (is.oomKilled && !hadRunOut) {
    const limit = after.config.limits.memoryBytes;
    add("resource_threshold", { resource: "memory", oom_killed: "true", limit: String(limit) }, "high");
  }
  if (is.state === "restarting" && !(was.state === "restarting" && was.exitedAt === is.exitedAt))
    add("container_restarting", endData(is));
  if (is.state === "exited" && is.startedAt === null) {
    add("container_error", { reason: is.reason === "" ? "it could not be started" : is.reason }, "high");
  } else if (is.state === "exited" && !(was.state === "exited" && was.exitedAt === is.exitedAt)) {
    add("container_stopped", { ...endData(is), ...(reason === "" ? {} : { reason }) });
  }
  if (is.state === "paused" && was.state !== "paused") add("container_paused", {});
  if (is.state === "running" && was.state === "paused") add("container_resumed", {});
  return events;
}

function endData(
  life: Extract<ContainerLife, { readonly state: "exited" | "restarting" }>,
): Record<string, string> {
  return {
    exit_code: String(life.exitCode),
    exited_at: new Date(life.exitedAt).toISOString(),
    oom_killed: String(life.oomKilled),
  };
}
