import type { Call } from "../call.ts";
import { Failure } from "../failure.ts";
import {
  type Container,
  type ContainerId,
  containerTable,
  knownContainer,
  loadedWith,
  madeContainer,
} from "./container.ts";
import type { EngineLink } from "./engine-link.ts";
import { callSource, observe } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";

/** Freezes containers and thaws them. */
export interface Pausing {
  /**
   * Freezes all processes of a container. One that is frozen is no error.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION (it does not run), UNAVAILABLE (engine).
   */
  pause(id: ContainerId, call: Call): Promise<Container>;
  /** Thaws it; one that runs is no error. Failures: the same. */
  resume(id: ContainerId, call: Call): Promise<Container>;
}

export function pausing(parts: ContainerParts, link: EngineLink): Pausing {
  return {
    pause: (id, call) => turn(parts, link, { id, call, to: "paused" }),
    resume: (id, call) => turn(parts, link, { id, call, to: "running" }),
  };
}

interface Turn {
  readonly id: ContainerId;
  readonly call: Call;
  readonly to: "paused" | "running";
}

async function turn(parts: ContainerParts, link: EngineLink, { id, call, to }: Turn): Promise<Container> {
  const { store, runtime, locks, clock, times } = parts;
  const doing = to === "paused" ? "pause container" : "resume container";
  using _held = await locks.hold(id, call.signal);
  const container = knownContainer(await store.get(containerTable, id), { id, doing });
  const runtimeId = madeContainer(container, doing);
  await parts.touch(container.sessionId);
  const within = AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
  let refusal: Failure | undefined;
  try {
    await (to === "paused" ? runtime.pause(runtimeId, within) : runtime.resume(runtimeId, within));
  } catch (error) {
    // Engines refuse alike what is so already and what can't be: their word for its state tells which it is.
    if (!(error instanceof Failure) || !["failed_precondition", "not_found"].includes(error.kind))
      throw error;
    refusal = error;
  }
  const facts = await runtime.inspect(runtimeId, within);
  if (facts === undefined) {
    const reason = "it was removed in the engine";
    await link.forgetHeld(container, call, { type: "container_removed", reason });
    throw new Failure("not_found", `Cannot ${doing} "${id}": ${reason}`, {
      reason: "CONTAINER_NOT_FOUND",
      metadata: { container_id: id },
    });
  }
  const { actor, correlationId } = call;
  const observing = { at: clock(), actor, correlationId, source: callSource, reason: "" };
  const seen = await store.change(loadedWith(container), (loaded) =>
    observe({ container, ...loaded }, facts, observing),
  );
  const { state } = seen.life;
  if (state === to) return seen;
  // Of one that has ended the engine would say the same once more, by its own id.
  const why = refusal === undefined || state !== "running" ? "" : ` (${plainReason(refusal)})`;
  throw new Failure("failed_precondition", `Cannot ${doing} "${id}": it is ${state}${why}`, {
    reason: "CONTAINER_NOT_RUNNING",
    metadata: { container_id: id, state },
    cause: refusal,
  });
}
