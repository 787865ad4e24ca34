import type { NewEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { holdingsOf } from "../sessions/holdings.ts";
import { type Activity, activityAt, activityTable, type Session, sessionTable } from "../sessions/session.ts";
import { type Answer, answered, answerOf, answerTable, type OnceKey } from "../store/answers.ts";
import { type Counter, counterTable, moved } from "../store/counters.ts";
import { changed, type Decision, put, unchanged } from "../store/store.ts";
import {
  type Container,
  type ContainerConfig,
  type ContainerId,
  containerEvent,
  containerTable,
  engineName,
  openContainers,
  type PullPolicy,
} from "./container.ts";
import { holdingMore } from "./holding.ts";
import type { ContainerLimits } from "./policy/container-limits.ts";
import { type ContainerDefaults, type Findings, type HardenedSpec, judgeContainer } from "./policy/policy.ts";
import { refusal } from "./policy/refusal.ts";

/** What becomes of a request for a container. */
export type Intent = NewIntent | Repeated | Refused;

/** Policy does not allow it, and the log has that. */
export interface Refused {
  readonly refused: Failure;
}

/** The request's idempotency key was used before. */
export interface Repeated {
  readonly again: ContainerId;
  readonly answerRow: string;
}

export interface NewIntent {
  readonly container: Container;
  readonly hardened: HardenedSpec;
}

/** The rule for a new container: may this session have it, and what will it be. */
export function intendContainer(
  loaded: {
    readonly session: Session;
    readonly activity: Activity | undefined;
    readonly open: Counter | undefined;
    readonly answer: Answer | undefined;
  },
  wanted: {
    readonly id: ContainerId;
    readonly config: ContainerConfig;
    readonly pull: PullPolicy;
    readonly once: OnceKey | undefined;
    readonly at: number;
    readonly actor: string;
    readonly limits: ContainerLimits;
    readonly defaults: ContainerDefaults;
    readonly found: Findings;
    readonly noticeMs: number;
    readonly correlationId: string;
    /** The part that speaks. */
    readonly source: string;
  },
): Decision<Intent> {
  const { session } = loaded;
  const { id, once, at } = wanted;
  const again = once && answered(loaded.answer, once, at);
  // as: answers of this kind are made below, from an id
  if (again !== undefined) return unchanged({ again: again as ContainerId, answerRow: once?.row ?? "" });
  refuseTooMany(loaded, wanted.limits);
  const verdict = judgeContainer(wanted.config, {
    session,
    used: holdingsOf(session).limits,
    defaults: wanted.defaults,
    found: wanted.found,
  });
  if (verdict.kind === "refused") {
    const { failure, events } = refusal(verdict.refusals, { ...wanted, session });
    // Nothing changes but the log, which keeps what was tried.
    return changed({ refused: failure }, [], events);
  }
  const hardened = verdict.spec;
  const config = storedConfig(wanted.config, hardened);
  const waits = session.config.policy.requireApproval;
  const container: Container = {
    id,
    sessionId: session.id,
    name: engineName(id),
    config,
    createdAt: at,
    answerRow: once?.row ?? "",
    life: waits ? { state: "waiting", pull: wanted.pull } : { state: "creating" },
  };
  const rows = [
    put(containerTable, container),
    put(sessionTable, {
      ...session,
      containerIds: [...session.containerIds, id],
      holdings: holdingMore(session, { id, config, maxVolumes: wanted.limits.maxVolumes }),
    }),
    put(activityTable, activityAt(session, at, { before: loaded.activity, noticeMs: wanted.noticeMs })),
    put(counterTable, moved(loaded.open, openContainers, 1)),
    ...(once ? [put(answerTable, answerOf(once, id, at))] : []),
  ];
  return changed({ container, hardened }, rows, waits ? [requestedEvent(container, session, wanted)] : []);
}

/** What a container is shown with, and what counts against its session: with all that was filled in. */
export function storedConfig(config: ContainerConfig, hardened: HardenedSpec): ContainerConfig {
  return {
    ...config,
    limits: {
      nanoCpu: hardened.limits.nanoCpu,
      memoryBytes: hardened.limits.memoryBytes,
      memorySwap: hardened.limits.memorySwapBytes,
      pidsLimit: hardened.limits.pids,
    },
    mounts: config.mounts.map((mount, index) => {
      const made = hardened.mounts[index];
      // Without symbolic links, so that what it got can be told from what it was to get at any later start.
      return made?.kind === "bind" ? { ...mount, source: made.source } : mount;
    }),
    ports: hardened.ports,
    networkMode: hardened.networkMode === "none" ? "none" : "bridge",
    restart: { ...config.restart, name: hardened.restart.name },
  };
}

/** Said to whoever wants to know of a container that waits: what it is. */
function requestedEvent(
  container: Container,
  session: Session,
  told: Pick<NewEvent, "source" | "at" | "actor" | "correlationId">,
): NewEvent {
  const { image, command, args } = container.config;
  const data = { image, command: [...command, ...args].join(" ").slice(0, 1_024) };
  const { source, at, actor, correlationId } = told;
  const event = { type: "approval_requested", source, at, actor, correlationId, data } as const;
  return containerEvent({ ...container, session }, { ...event, priority: "high" });
}

function refuseTooMany(
  loaded: { readonly session: Session; readonly open: Counter | undefined },
  limits: ContainerLimits,
): void {
  const { session } = loaded;
  const has = session.containerIds.length;
  if (has >= session.config.maxContainers) {
    throw new Failure(
      "resource_exhausted",
      `Cannot create a container in session "${session.id}": it has ${has}, and its max_containers is ${session.config.maxContainers}`,
      { reason: "TOO_MANY_CONTAINERS", metadata: { limit: String(session.config.maxContainers) } },
    );
  }
  const all = loaded.open?.value ?? 0;
  if (all >= limits.maxContainers) {
    throw new Failure(
      "resource_exhausted",
      `Cannot create a container in session "${session.id}": the server has ${all}, and ${limits.maxContainers} is the most`,
      { reason: "TOO_MANY_CONTAINERS", metadata: { limit: String(limits.maxContainers) } },
    );
  }
}
