import { type Call, systemCall } from "../call.ts";
import { Bell } from "../events/bell.ts";
import { Failure } from "../failure.ts";
import type { ResourceReading } from "../runtime/runtime.ts";
import { sessionTable } from "../sessions/session.ts";
import { changed } from "../store/store.ts";
import {
  type Container,
  type ContainerId,
  containerEvent,
  containerTable,
  isMade,
  knownContainer,
  madeContainer,
} from "./container.ts";
import { engineSource } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { type CpuSince, type Crossing, type Usage, usageOf } from "./usage.ts";

interface StatsOptions {
  /** How often every container is measured without anybody asking, in milliseconds. */
  readonly everyMs: number;
  /** How many streams there may be at once. */
  readonly maxStreams: number;
  /** Whether the engine can be asked. */
  readonly isUp: () => boolean;
}

/** How many containers are measured at the same time, and how long each of these takes at least, in milliseconds. */
const lanes = 32;
const leastLaneMs = 1_000;
/** How many rows are read at once. */
const pageSize = 500;

/** What containers use: on request as a stream, and now and then of all of them. */
export class Stats {
  readonly #parts: ContainerParts;
  readonly #options: StatsOptions;
  #streams = 0;

  constructor(parts: ContainerParts, options: StatsOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /**
   * A reading at once, then one every `intervalMs` milliseconds, or as often as the engine measures if that is less
   * often; ends when the container does.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION (it does not run), RESOURCE_EXHAUSTED (too many at once), UNAVAILABLE (engine).
   */
  async stream(id: ContainerId, intervalMs: number, call: Call): Promise<AsyncIterable<Usage>> {
    const doing = "measure container";
    const container = knownContainer(await this.#parts.store.get(containerTable, id), { id, doing });
    madeContainer(container, doing);
    refuseIdle(container);
    await this.#parts.touch(container.sessionId);
    this.#refuseTooMany();
    return this.#follow(id, intervalMs, call);
  }

  /** Measures all that runs, again and again, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs, isUp } = this.#options;
    const before = new Map<ContainerId, ResourceReading>();
    while (!signal.aborted) {
      const startedAt = performance.now();
      if (isUp()) await this.#round(before, signal);
      await waited(Math.max(leastLaneMs, everyMs - (performance.now() - startedAt)), signal);
    }
  }

  #refuseTooMany(): void {
    if (this.#streams >= this.#options.maxStreams) throw tooMany(this.#options.maxStreams);
  }

  async *#follow(id: ContainerId, intervalMs: number, call: Call): AsyncGenerator<Usage, void, undefined> {
    this.#refuseTooMany(); // others may have begun since it was asked for
    this.#streams += 1;
    using ended = this.#endOf(id, call.signal);
    try {
      let base: CpuSince | undefined = this.#parts.readings.reading(id);
      for (let isFirst = true; ; isFirst = false) {
        const due = performance.now() + intervalMs;
        const taken = await this.#take(id, base, call.signal);
        if (taken.kind === "ended") {
          if (isFirst) throw notRunning(id, taken.state);
          return;
        }
        if (taken.kind === "read") {
          base = taken.reading;
          yield taken.usage;
        }
        await waited(due - performance.now(), ended.signal);
        if (call.signal.aborted) return;
      }
    } finally {
      this.#streams -= 1;
    }
  }

  /** Aborts when the container has ended or the signal has aborted. */
  #endOf(id: ContainerId, signal: AbortSignal): Disposable & { readonly signal: AbortSignal } {
    const { log } = this.#parts;
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const follow = { after: log.tail, filter: { containerId: id, types: endings }, signal: either };
    void (async () => {
      try {
        for await (const _ of log.follow(follow)) return;
      } catch {
        // Aborted, or behind retention: the next reading finds out what is true.
      } finally {
        over.abort();
      }
    })();
    return { signal: either, [Symbol.dispose]: () => over.abort() };
  }

  async #round(before: Map<ContainerId, ResourceReading>, signal: AbortSignal): Promise<void> {
    const waiting = await this.#live();
    const ids = new Set(waiting);
    for (const id of before.keys()) if (!ids.has(id)) before.delete(id);
    const lane = async () => {
      for (let id = waiting.pop(); id !== undefined && !signal.aborted; id = waiting.pop()) {
        const startedAt = performance.now();
        const reading = await this.#measured(id, before.get(id), signal);
        if (reading !== undefined) before.set(id, reading);
        if (waiting.length > 0) await waited(leastLaneMs - (performance.now() - startedAt), signal);
      }
    };
    await Promise.all(Array.from({ length: Math.min(lanes, waiting.length) }, lane));
  }

  async #measured(
    id: ContainerId,
    base: CpuSince | undefined,
    signal: AbortSignal,
  ): Promise<ResourceReading | undefined> {
    try {
      const taken = await this.#take(id, base, signal);
      return taken.kind === "read" ? taken.reading : undefined;
    } catch (error) {
      // It is measured again in the next round.
      if (error instanceof Failure) return undefined;
      throw error;
    }
  }

  async #live(): Promise<ContainerId[]> {
    const where = { state: ["running", "paused"] };
    const ids: ContainerId[] = [];
    let page = await this.#parts.store.list(containerTable, { where, limit: pageSize });
    ids.push(...page.rows.map(({ id }) => id));
    while (page.next !== undefined) {
      page = await this.#parts.store.list(containerTable, { where, limit: pageSize, after: page.next });
      ids.push(...page.rows.map(({ id }) => id));
    }
    return ids;
  }

  /** Reads what a container uses, keeps it, and tells of marks that are reached. */
  async #take(id: ContainerId, base: CpuSince | undefined, signal: AbortSignal): Promise<Taken> {
    const { store, runtime, readings, times } = this.#parts;
    const row = await store.get(containerTable, id);
    if (row === undefined || !isMade(row.life)) return { kind: "ended", state: "removed" };
    const within = AbortSignal.any([signal, AbortSignal.timeout(times.operationMs)]);
    let reading: ResourceReading;
    try {
      reading = await runtime.stats(row.life.runtimeId, within);
    } catch (error) {
      if (!(error instanceof Failure) || !["failed_precondition", "not_found"].includes(error.kind))
        throw error;
      const state = (await runtime.inspect(row.life.runtimeId, within))?.state ?? "removed";
      // Between two runs of its restart policy there is nothing to measure, and it has not ended.
      const goesOn = state === "running" || state === "restarting" || state === "paused";
      return goesOn ? { kind: "nothing" } : { kind: "ended", state };
    }
    // Its row may say by now that it has ended; after that nothing is kept of it.
    const now = await store.get(containerTable, id);
    const life = now?.life;
    if (now === undefined || life === undefined || !isMade(life)) return { kind: "ended", state: "removed" };
    const usage = usageOf(reading, { base, startedAt: life.startedAt ?? now.createdAt });
    if (life.state !== "exited") await this.#tell(now, readings.keep(id, { reading, usage }), signal);
    return { kind: "read", reading, usage };
  }

  async #tell(container: Container, crossed: readonly Crossing[], signal: AbortSignal): Promise<void> {
    if (crossed.length === 0) return;
    const { store, clock } = this.#parts;
    const { actor, correlationId } = systemCall(signal);
    const events = crossed.map(({ resource, mark, percent, usage, limit }) => ({
      type: "resource_threshold" as const,
      source: engineSource,
      at: clock(),
      actor,
      correlationId,
      priority: "high" as const,
      data: {
        resource,
        mark: String(mark),
        percent: percent.toFixed(1),
        usage: String(usage),
        limit: String(limit),
      },
    }));
    try {
      await store.change({ session: { table: sessionTable, key: container.sessionId } }, ({ session }) =>
        changed(
          undefined,
          [],
          events.map((event) => containerEvent({ ...container, session }, event)),
        ),
      );
    } catch (error) {
      // A full disk takes no events; the reading is none the worse for it.
      if (!(error instanceof Failure)) throw error;
    }
  }
}

type Taken =
  | { readonly kind: "read"; readonly reading: ResourceReading; readonly usage: Usage }
  | { readonly kind: "nothing" }
  | { readonly kind: "ended"; readonly state: string };

const endings = ["container_stopped", "container_removed", "container_error"] as const;

function refuseIdle({ id, life: { state } }: Container): void {
  if (state !== "running" && state !== "paused" && state !== "restarting") throw notRunning(id, state);
}

function notRunning(id: ContainerId, state: string): Failure {
  return new Failure("failed_precondition", `Cannot measure container "${id}": it is ${state}, not running`, {
    reason: "CONTAINER_NOT_RUNNING",
    metadata: { container_id: id, state },
  });
}

function tooMany(most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot measure a container: ${most} streams do so already, which is the most at once`,
    {
      reason: "TOO_MANY_STATS",
      retryAfterMs: 1_000,
    },
  );
}

/** Until so many milliseconds have passed or the signal has aborted. */
async function waited(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring, { once: true });
  try {
    await bell.wait(ms);
  } finally {
    signal.removeEventListener("abort", bell.ring);
  }
}
