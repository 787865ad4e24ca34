import type { NewEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { holdingsOf } from "../sessions/holdings.ts";
import { activeSession, type Session, sessionTable } from "../sessions/session.ts";
import type { Counter } from "../store/counters.ts";
import { changed, type Decision, put, unchanged } from "../store/store.ts";
import { type Container, containerEvent, containerTable, knownContainer } from "./container.ts";
import { type NewIntent, type Refused, storedConfig } from "./intent.ts";
import { forget, type Observing } from "./observe.ts";
import { addLimits } from "./policy/limit-policy.ts";
import { type ContainerDefaults, type Findings, judgeContainer } from "./policy/policy.ts";
import { refusal } from "./policy/refusal.ts";

interface Loaded {
  readonly container: Container | undefined;
  readonly session: Session | undefined;
}

/** One that was approved before is its own answer; the others are judged by what their session allows now. */
export function approveContainer(
  loaded: Loaded,
  approving: Omit<Observing, "reason"> & {
    readonly id: string;
    readonly defaults: ContainerDefaults;
    readonly found: Findings;
  },
): Decision<NewIntent | Refused | { readonly before: Container }> {
  const { id, defaults, found, ...observing } = approving;
  const container = waitingOrApproved(loaded.container, { id, doing: "approve container" });
  if (container.life.state !== "waiting") return unchanged({ before: container });
  const session = activeSession(loaded.session, {
    id: container.sessionId,
    doing: "approve a container of session",
  });
  const holdings = holdingsOf(session);
  const others = addLimits(holdings.limits, container.config.limits, -1n);
  const verdict = judgeContainer(container.config, { session, used: others, defaults, found });
  if (verdict.kind === "refused") {
    const { failure, events } = refusal(verdict.refusals, {
      ...observing,
      session,
      config: container.config,
    });
    return changed({ refused: failure }, [], events);
  }
  const approved: Container = {
    ...container,
    config: storedConfig(container.config, verdict.spec),
    approvedBy: observing.actor,
    life: { state: "creating" },
  };
  const limits = addLimits(others, approved.config.limits, 1n);
  return changed(
    { container: approved, hardened: verdict.spec },
    [put(containerTable, approved), put(sessionTable, { ...session, holdings: { ...holdings, limits } })],
    [event(approved, session, { ...observing, type: "approval_given", data: {} })],
  );
}

/** It goes as any other container goes, with the reason in the log. */
export function rejectContainer(
  loaded: Loaded & { readonly open: Counter | undefined },
  rejecting: Observing & { readonly id: string },
): Decision<void> {
  const { id, reason, ...observing } = rejecting;
  const container = waitingOrApproved(loaded.container, { id, doing: "reject container" });
  if (container.life.state !== "waiting") throw notWaiting(container, "reject container");
  const said = reason === "" ? "it was rejected" : `it was rejected: ${reason}`;
  const gone = forget(
    { ...loaded, container, row: container },
    { ...observing, reason: said, type: "container_removed" },
  );
  const { image } = container.config;
  const refused = event(container, loaded.session, {
    ...observing,
    type: "approval_refused",
    data: { reason, image },
  });
  return changed(undefined, gone.rows, [refused, ...gone.events]);
}

function waitingOrApproved(
  container: Container | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Container {
  const found = knownContainer(container, wanted);
  if (found.life.state === "waiting" || found.approvedBy !== undefined) return found;
  throw notWaiting(found, wanted.doing);
}

function notWaiting({ id, life }: Container, doing: string): Failure {
  return new Failure(
    "failed_precondition",
    `Cannot ${doing} "${id}": it does not wait for approval, it is ${life.state}`,
    { reason: "CONTAINER_NOT_WAITING", metadata: { container_id: id, state: life.state } },
  );
}

function event(
  container: Container,
  session: Session | undefined,
  told: Omit<Observing, "reason"> & Pick<NewEvent, "type" | "data">,
): NewEvent {
  return containerEvent({ ...container, session }, told);
}
