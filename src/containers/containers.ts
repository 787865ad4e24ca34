import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { abortFailure, Failure } from "../failure.ts";
import type { LogOptions, OutputChunk } from "../runtime/runtime.ts";
import { type SessionId, sessionTable } from "../sessions/session.ts";
import { counterTable } from "../store/counters.ts";
import type { Listing } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import { removeOrForget, removeSurroundingsOrLeave } from "./abandon.ts";
import {
  type Container,
  type ContainerId,
  containerTable,
  engineName,
  knownContainer,
  loadedWith,
  madeContainer,
  openContainers,
} from "./container.ts";
import { type Creating, Creation } from "./creation.ts";
import { EngineLink, type EngineState } from "./engine-link.ts";
import { removeSurroundings } from "./engine-surroundings.ts";
import { FirstOutputs } from "./first-output.ts";
import { callSource, engineSource, observe } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";
import type { Usage } from "./usage.ts";
import type { Pool } from "./warm/pool.ts";

/** A container as it is shown: its row, or that nobody knows because the engine can't be asked. */
export interface ContainerView {
  readonly container: Container;
  readonly known: { readonly kind: "yes" } | { readonly kind: "no"; readonly reason: string };
  /** As it was last measured, if it was. */
  readonly usage?: Usage | undefined;
}

export interface ContainerFilter {
  readonly sessionId?: string;
  /** Any of these; `unknown` matches all while the engine can't be asked, and nothing else does then. */
  readonly states?: readonly (Container["life"]["state"] | "unknown")[];
  readonly labels?: Readonly<Record<string, string>>;
}

/** What a listing of containers is of. */
export interface ContainerPage {
  readonly filter: ContainerFilter;
  readonly limit: number;
  readonly after?: PagePlace | undefined;
}

/** How a container ended. */
export type Ended =
  | {
      readonly kind: "exited";
      readonly exitCode: number;
      readonly oomKilled: boolean;
      readonly exitedAt: Instant;
      /** The engine's words, where there are any. */
      readonly reason: string;
    }
  | { readonly kind: "removed"; readonly id: ContainerId; readonly reason: string };

/** The use cases of containers, but for what runs inside them (execs.ts). */
export class Containers {
  readonly link: EngineLink;
  readonly #parts: ContainerParts;
  readonly creation: Creation;
  readonly #firstOutputs: FirstOutputs;

  /** @param onEngine hears of every change of the engine's state */
  constructor(parts: ContainerParts & { readonly pool: Pool }, onEngine: (state: EngineState) => void) {
    this.#parts = parts;
    this.link = new EngineLink(parts, onEngine);
    this.#firstOutputs = new FirstOutputs(parts.background, parts.defaults);
    this.creation = new Creation(parts, {
      ready: (signal) => this.#engineReady(signal),
      clearAway: (id) => this.link.refreshSoon(id),
      pool: parts.pool,
      firstOutput: (id, attached) => this.#firstOutputs.keep(id, attached),
    });
  }

  /** See Creation.create. */
  async create(creating: Creating, call: Call): Promise<ContainerView> {
    return this.#view(await this.creation.create(creating, call));
  }

  /** Failures: NOT_FOUND. */
  async get(id: ContainerId): Promise<ContainerView> {
    return this.#view(
      knownContainer(await this.#parts.store.get(containerTable, id), { id, doing: "get container" }),
    );
  }

  /** Containers, newest first. */
  async list({ filter, limit, after }: ContainerPage): Promise<Listing<ContainerView>> {
    const known = this.#known();
    const states = filter.states?.filter((state) => known.kind === "no" || state !== "unknown");
    const impossible = known.kind === "no" && states !== undefined && !states.includes("unknown");
    const listing = await this.#parts.store.list(containerTable, {
      where: {
        ...(filter.sessionId === undefined ? {} : { sessionId: filter.sessionId }),
        ...(impossible ? { state: [] } : {}),
        ...(states === undefined || known.kind === "no" ? {} : { state: states }),
      },
      labels: filter.labels ?? {},
      limit,
      after,
      descending: true,
      total: true,
    });
    return { ...listing, rows: listing.rows.map((container) => this.#view(container, known)) };
  }

  /** How many there are, ended ones too, which is what the server's bound is on. */
  async count(): Promise<number> {
    return (await this.#parts.store.get(counterTable, openContainers))?.value ?? 0;
  }

  /** How many containers have not ended, as far as is known. */
  async countActive(): Promise<number> {
    return await this.#parts.store.count(containerTable, { where: { state: activeStates } });
  }

  /**
   * SIGTERM, then SIGKILL after `graceMs` (milliseconds; the server's default when absent). One that has stopped is no error.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION (still being created), UNAVAILABLE (engine).
   */
  async stop(
    id: ContainerId,
    options: { readonly graceMs?: number | undefined },
    call: Call,
  ): Promise<ContainerView> {
    using _noCopies = this.#parts.copying.end(id);
    using _held = await this.#parts.locks.hold(id, call.signal);
    const graceMs = options.graceMs ?? this.#parts.times.stopGraceMs;
    return this.#view(await this.#stopHeld(id, { graceMs, reason: "it was stopped by a call" }, call));
  }

  /**
   * Removes a container for good.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION when it runs and `force` was not asked for, UNAVAILABLE (engine), which
   * `abandon` doesn't wait for: see removeOrForget.
   */
  async remove(
    id: ContainerId,
    options: { readonly how: "stopped_only" | "force" | "abandon" },
    call: Call,
  ): Promise<void> {
    const before = knownContainer(await this.#parts.store.get(containerTable, id), {
      id,
      doing: "remove container",
    });
    if (options.how === "abandon") {
      const remove = (within: Call) => this.remove(id, { how: "force" }, within);
      return await removeOrForget({ parts: this.#parts, link: this.link }, id, { call, remove });
    }
    using _noCopies = options.how === "force" ? this.#parts.copying.end(id) : undefined;
    if (options.how === "force") await this.#endHolder(before, call);
    using _held = await this.#parts.locks.hold(id, call.signal);
    const container = await this.link.refreshHeld(id, call);
    if (container === undefined) return;
    const { state } = container.life;
    if (
      options.how === "stopped_only" &&
      (state === "running" || state === "paused" || state === "restarting")
    ) {
      throw new Failure(
        "failed_precondition",
        `Cannot remove container "${id}": it is ${state}; stop it first, or remove it with force`,
        {
          reason: "CONTAINER_RUNNING",
          metadata: { state },
        },
      );
    }
    await this.#removeHeld(container, call, "it was removed by a call");
  }

  /**
   * Waits until a container has ended, however long that takes.
   *
   * Failures: NOT_FOUND, the signal's reason.
   */
  async wait(id: ContainerId, call: Call): Promise<Ended> {
    // The place in the log comes first: whatever ends the container after it is heard of.
    const after = this.#parts.log.tail;
    const { container } = await this.get(id);
    if (container.life.state === "exited") return { ...container.life, kind: "exited" };
    const filter = { containerId: id };
    for await (const item of this.#parts.log.follow({ after, filter, signal: call.signal })) {
      if (item.kind !== "event") continue;
      const { type, data } = item.event;
      const now = await this.#parts.store.get(containerTable, id);
      if (now?.life.state === "exited") return { ...now.life, kind: "exited" };
      // It may have been removed or started anew since, and still it has ended.
      if (type === "container_stopped" && data !== undefined) return exitedAs(data);
      if (type === "container_removed" || type === "container_error") {
        return { kind: "removed", id, reason: data?.reason ?? "" };
      }
    }
    throw abortFailure(call.signal);
  }

  /** What a container wrote, as the engine has kept it. Failures: NOT_FOUND, FAILED_PRECONDITION, UNAVAILABLE. */
  async logs(id: ContainerId, options: LogOptions, call: Call): Promise<AsyncIterable<OutputChunk>> {
    const { container } = await this.get(id);
    await this.#parts.touch(container.sessionId);
    const runtimeId = madeContainer(container, "read the logs of container");
    const { signal } = call;
    // No container of ours is created with a terminal; asking the engine would wait until it has cleaned up behind one that has just ended.
    const log = () => this.#parts.runtime.logs(runtimeId, { ...options, tty: false }, signal);
    return this.#firstOutputs.take(id, options, { log, signal }) ?? log();
  }

  /** Stops and removes all that a closing session has in the engine. Safe to call again. */
  async empty(sessionId: SessionId, call: Call, how: Emptying = "wait"): Promise<void> {
    const session = await this.#parts.store.get(sessionTable, sessionId);
    const closing = new Failure(
      "failed_precondition",
      `Cannot create a container in session "${sessionId}": it is closing`,
    );
    const link = { parts: this.#parts, link: this.link };
    const removals = (session?.containerIds ?? []).map(async (text) => {
      const id = text as ContainerId; // containerIds holds nothing else
      this.creation.abandon(id, closing);
      const remove = (within: Call) => this.#end(id, within, "its session was closed");
      if (how === "abandon") await removeOrForget(link, id, { call, remove });
      else await remove(call);
    });
    const failed = (await Promise.allSettled(removals)).find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    if (session === undefined) return;
    if (how === "abandon") await removeSurroundingsOrLeave({ ...link, session }, call.signal);
    else await removeSurroundings(this.#parts, session, call.signal);
  }

  /** Stops and removes a container, whatever state it is in. */
  async #end(id: ContainerId, call: Call, reason: string): Promise<void> {
    using _noCopies = this.#parts.copying.end(id);
    using _held = await this.#holdInTime(id, call);
    const container = await this.link.refreshHeld(id, call);
    if (container === undefined) return;
    const isOver = container.life.state === "exited" || container.life.state === "waiting";
    const ended = isOver ? container : await this.#stopOrLeave(container, reason, call);
    await this.#removeHeld(ended, call, reason);
  }

  /** A container that the engine can't stop gets no grace: the removal, which kills it, is what has to succeed. */
  async #stopOrLeave(container: Container, reason: string, call: Call): Promise<Container> {
    try {
      return await this.#stopHeld(container.id, { graceMs: this.#parts.times.closeGraceMs, reason }, call);
    } catch (error) {
      if (!(error instanceof Failure) || error.details.reason === "RUNTIME_UNAVAILABLE") throw error;
      return container;
    }
  }

  async #stopHeld(
    id: ContainerId,
    { graceMs, reason }: { readonly graceMs: number; readonly reason: string },
    call: Call,
  ): Promise<Container> {
    const { store, runtime, clock, times } = this.#parts;
    const container = knownContainer(await store.get(containerTable, id), { id, doing: "stop container" });
    const runtimeId = madeContainer(container, "stop container");
    await this.#parts.touch(container.sessionId);
    using _ending = this.#parts.endings.begin(id, reason);
    const askedAt = clock();
    const within = AbortSignal.any([call.signal, AbortSignal.timeout(graceMs + times.operationMs)]);
    await runtime.stop(runtimeId, { graceMs }, within);
    const facts = await runtime.inspect(runtimeId, within);
    if (facts === undefined) {
      await this.link.forgetHeld(container, call, {
        type: "container_removed",
        reason: "it was removed in the engine",
      });
      throw new Failure("not_found", `Cannot stop container "${id}": it was removed in the engine`);
    }
    const { actor, correlationId } = call;
    const endedBefore = facts.exitedAt !== undefined && facts.exitedAt < askedAt;
    const why = endedBefore ? { source: engineSource, reason: "" } : { source: callSource, reason };
    const observing = { at: clock(), actor, correlationId, ...why };
    return await store.change(loadedWith(container), (loaded) =>
      observe({ container, ...loaded }, facts, observing),
    );
  }

  async #removeHeld(container: Container, call: Call, reason: string): Promise<void> {
    const { runtime, times, endings } = this.#parts;
    using _ending = endings.begin(container.id, reason);
    const within = AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
    if (container.life.state !== "waiting") {
      await runtime.remove(madeContainer(container, "remove container"), within);
    }
    await this.link.forgetHeld(container, call, { type: "container_removed", reason, source: callSource });
  }

  /** A forced removal doesn't wait for a creation or for the grace of a stop that is under way. */
  async #endHolder(container: Container, call: Call): Promise<void> {
    if (!this.#parts.locks.held(container.id)) return;
    this.creation.abandon(
      container.id,
      new Failure("aborted", `Cannot create container "${container.id}": it was removed by force`),
    );
    using _ending = this.#parts.endings.begin(container.id, "it was removed by a call");
    await this.#kill(container.id, call.signal);
  }

  /** Holds a container of a session that closes; who stops it with a longer grace than that has is cut short. */
  async #holdInTime(id: ContainerId, call: Call): Promise<Disposable> {
    const { locks, background, times } = this.#parts;
    const patience = setTimeout(
      () => background.start("cut a stop short", (signal) => this.#kill(id, signal)),
      times.closeGraceMs,
    );
    try {
      return await locks.hold(id, call.signal);
    } finally {
      clearTimeout(patience);
    }
  }

  async #kill(id: ContainerId, signal: AbortSignal): Promise<void> {
    const { runtime, times } = this.#parts;
    const within = AbortSignal.any([signal, AbortSignal.timeout(times.operationMs)]);
    try {
      await runtime.kill(engineName(id), { signalName: "KILL" }, within);
    } catch (error) {
      // It may have ended in the meantime; the removal finds out what is true.
      if (!(error instanceof Failure)) throw error;
    }
  }

  /** A link that is up is believed; the engine itself is asked otherwise, since it may have come back this moment. */
  async #engineReady(signal: AbortSignal): Promise<void> {
    if (this.link.state.kind === "up") return;
    const bound = AbortSignal.timeout(this.#parts.times.operationMs);
    try {
      await this.#parts.runtime.info(AbortSignal.any([signal, bound]));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new Failure(error.kind, `Cannot create a container: ${plainReason(error)}`, error.details);
    }
  }

  #view(container: Container, known = this.#known()): ContainerView {
    const waits = container.life.state === "waiting"; // which the engine has no part in
    return {
      container,
      known: waits ? { kind: "yes" } : known,
      usage: this.#parts.readings.usage(container.id),
    };
  }

  #known(): ContainerView["known"] {
    const { state } = this.link;
    switch (state.kind) {
      case "up":
        return { kind: "yes" };
      case "connecting":
        return { kind: "no", reason: "the container engine was not asked yet" };
      case "lost":
        return { kind: "no", reason: state.reason };
    }
  }
}

/** What becomes of a closing session whose containers the engine can't remove: it waits, or lets go of them. */
type Emptying = "wait" | "abandon";

const activeStates: readonly Container["life"]["state"][] = [
  "waiting",
  "creating",
  "created",
  "running",
  "paused",
  "restarting",
];

function exitedAs(data: Readonly<Record<string, string>>): Ended {
  return {
    kind: "exited",
    exitCode: Number(data.exit_code ?? 0),
    oomKilled: data.oom_killed === "true",
    exitedAt: Date.parse(data.exited_at ?? ""),
    reason: "",
  };
}
