import { type Call, systemCall } from "../call.ts";
import { Bell } from "../events/bell.ts";
import type { EventType, Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import type { ContainerFacts, RuntimeEvent } from "../runtime/runtime.ts";
import { counterTable } from "../store/counters.ts";
import { changed } from "../store/store.ts";
import {
  type Container,
  type ContainerId,
  containerTable,
  engineLabels,
  engineName,
  isMade,
  loadedWith,
  openContainers,
  startOf,
} from "./container.ts";
import { removeOrphans } from "./engine-surroundings.ts";
import { engineSource, forget, lifeOf, observe } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";
import { checkStart } from "./policy/start-check.ts";

/** What is known of the engine. While it isn't `up`, the state of its containers is unknown. */
export type EngineState =
  | { readonly kind: "connecting" }
  | { readonly kind: "up"; readonly since: Instant }
  | { readonly kind: "lost"; readonly since: Instant; readonly reason: string };

/** Waits between attempts to reach a lost engine: from the first to the last, in milliseconds. */
const firstRetryMs = 100;
const lastRetryMs = 2_000;
/** The last wait between attempts at one container with which an engine that answers can't do what it should. */
const lastRefreshRetryMs = 30_000;

/** The engine's words for what can change a row; the others (exec, attach, resize) are passed over. */
const telling = new Set([
  "start",
  "die",
  "oom",
  "destroy",
  "pause",
  "unpause",
  "rename",
  "restart",
  "stop",
  "health_status",
]);

/**
 * Keeps the rows true: follows the engine's events, and compares all rows with the engine at the start and whenever the
 * events were interrupted. Both ways: what no row knows is removed, what a row knows gets the engine's word.
 */
export class EngineLink {
  readonly #parts: ContainerParts;
  readonly #onState: (state: EngineState) => void;
  readonly #refreshing = new Map<ContainerId, "once" | "again">();
  /** When the engine has told that a process ran out of memory, until the row says it. */
  readonly #ranOut = new Map<ContainerId, Instant>();
  readonly #settled = Promise.withResolvers<void>();
  #state: EngineState = { kind: "connecting" };

  constructor(parts: ContainerParts, onState: (state: EngineState) => void) {
    this.#parts = parts;
    this.#onState = onState;
  }

  get state(): EngineState {
    return this.#state;
  }

  /** Resolves when the engine was reached, or not, for the first time. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const bell = new Bell();
    signal.addEventListener("abort", bell.ring, { once: true });
    let retryMs = firstRetryMs;
    while (!signal.aborted) {
      try {
        await this.#watch(signal, () => {
          retryMs = firstRetryMs;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Failure)) throw error;
        await this.#lost(error.message);
      }
      await bell.wait(retryMs);
      retryMs = Math.min(retryMs * 2, lastRetryMs);
    }
  }

  /** Brings one row to what the engine says now. Removes the container if there is no row for it. */
  async refresh(id: ContainerId, call: Call): Promise<void> {
    using _held = await this.#parts.locks.hold(id, call.signal);
    await this.refreshHeld(id, call);
  }

  /** The same for a caller that holds the container already. Resolves to the row, if it is still there. */
  async refreshHeld(id: ContainerId, call: Call): Promise<Container | undefined> {
    const { store, runtime, clock, times } = this.#parts;
    const container = await store.get(containerTable, id);
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
    if (container === undefined) {
      await runtime.remove(engineName(id), signal);
      return undefined;
    }
    const { life } = container;
    if (life.state === "waiting") return container; // nothing of it is in the engine
    if (life.state === "creating") {
      await runtime.remove(engineName(id), signal);
      await this.forgetHeld(container, call, {
        type: "container_error",
        reason: "its creation was cut off, by the end of the server or the loss of the engine",
      });
      return undefined;
    }
    const found = await runtime.inspect(life.runtimeId, signal);
    if (found === undefined) {
      await this.forgetHeld(container, call, {
        type: "container_removed",
        reason: "it was removed in the engine",
      });
      return undefined;
    }
    const ranOutAt = this.#ranOut.get(id);
    const isOfThisRun = ranOutAt !== undefined && ranOutAt >= (found.startedAt ?? 0);
    const facts = { ...found, oomKilled: found.oomKilled || isOfThisRun };
    if (!(await this.#startIsRight(container, facts, { ...call, signal }))) return undefined;
    const { actor, correlationId } = call;
    const observing = { at: clock(), actor, correlationId, source: engineSource, reason: "" };
    const seen = await store.change(loadedWith(container), (loaded) =>
      observe({ container, ...loaded }, facts, observing),
    );
    if (this.#ranOut.get(id) === ranOutAt) this.#ranOut.delete(id);
    if (seen.life.state === "exited") this.#parts.readings.ended(id);
    if (seen.life.state !== "exited" || !seen.config.removeOnStop) return seen;
    await runtime.remove(life.runtimeId, signal);
    await this.forgetHeld(seen, call, {
      type: "container_removed",
      reason: "it has stopped, and remove_on_stop was set",
    });
    return undefined;
  }

  /** A start that nobody has looked at, such as one by its restart policy: one that has got other files is ended. */
  async #startIsRight(container: Container, facts: ContainerFacts, call: Call): Promise<boolean> {
    const { life } = container;
    if (!isMade(life) || life.startedAt === startOf(container, facts)) return true;
    try {
      await checkStart(this.#parts, { container, facts, source: engineSource }, call);
      return true;
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "permission_denied") throw error;
      await this.#parts.runtime.remove(life.runtimeId, call.signal);
      await this.forgetHeld(container, call, { type: "container_error", reason: plainReason(error) });
      return false;
    }
  }

  /** Removes the row of a container that is gone; the caller holds it. */
  async forgetHeld(
    container: Container,
    call: Call,
    why: {
      readonly type: "container_removed" | "container_error";
      readonly reason: string;
      readonly source?: string;
    },
  ): Promise<void> {
    const { store, clock } = this.#parts;
    const { actor, correlationId } = call;
    this.#ranOut.delete(container.id);
    await store.change(
      { ...loadedWith(container), open: { table: counterTable, key: openContainers } },
      (loaded) =>
        forget({ container, ...loaded }, { source: engineSource, ...why, at: clock(), actor, correlationId }),
    );
    this.#parts.readings.forget(container.id);
  }

  async #watch(signal: AbortSignal, onWatching: () => void): Promise<void> {
    const { runtime, install } = this.#parts;
    for await (const event of runtime.watch({ [engineLabels.install]: install }, signal)) {
      if (event.kind === "changed") {
        await this.#changed(event);
        continue;
      }
      // The watch is in force before the comparison, so what changes during it is heard of.
      await this.#reconcile(systemCall(signal));
      onWatching();
      await this.#up();
    }
  }

  async #changed(event: Extract<RuntimeEvent, { kind: "changed" }>): Promise<void> {
    const id = event.labels[engineLabels.container] as ContainerId | undefined; // our label, of our install
    if (id === undefined) return;
    if (event.action === "create") {
      // Its creation is waited for elsewhere, unless its caller had given up before the engine was done.
      if ((await this.#parts.store.get(containerTable, id)) === undefined) this.refreshSoon(id);
    } else if (telling.has(event.action.split(":")[0] ?? "")) {
      if (event.action === "oom") this.#ranOut.set(id, event.at);
      this.refreshSoon(id);
    }
  }

  /**
   * Brings a row to what the engine says, in the background and until it is done: one refresh at a time for each
   * container, and one more if something happened during it.
   */
  refreshSoon(id: ContainerId): void {
    if (this.#refreshing.has(id)) {
      this.#refreshing.set(id, "again");
      return;
    }
    this.#refreshing.set(id, "once");
    this.#parts.background.start("refresh a container", async (signal) => {
      try {
        do {
          this.#refreshing.set(id, "once");
          await this.#refreshUntilDone(id, signal);
        } while (this.#refreshing.get(id) === "again");
      } finally {
        this.#refreshing.delete(id);
      }
    });
  }

  async #refreshUntilDone(id: ContainerId, signal: AbortSignal): Promise<void> {
    const bell = new Bell();
    signal.addEventListener("abort", bell.ring, { once: true });
    try {
      for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, lastRefreshRetryMs)) {
        try {
          return await this.refresh(id, systemCall(signal));
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
          // A lost engine is compared with all rows when it is back; one that refuses is being compared, or was.
          const lost = this.#state.kind === "lost" && error.details.reason === "RUNTIME_UNAVAILABLE";
          if (signal.aborted || lost) return;
        }
        await bell.wait(retryMs);
      }
    } finally {
      signal.removeEventListener("abort", bell.ring);
    }
  }

  async #reconcile(call: Call): Promise<void> {
    const { runtime, install, times } = this.#parts;
    const within = AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
    const found = await runtime.list({ [engineLabels.install]: install }, within);
    const rows = await this.#allRows();
    const facts = new Map(found.map((fact) => [fact.labels[engineLabels.container] ?? "", fact]));
    const differing: ContainerId[] = [];
    for (const row of rows) {
      if (differs(row, facts.get(row.id))) differing.push(row.id);
      facts.delete(row.id);
    }
    for (const id of facts.keys()) differing.push(id as ContainerId); // our label's value, of our install
    for (const id of differing) {
      // Somebody works on it and will leave it true: a creation under way, a stop with its grace.
      if (this.#parts.locks.held(id)) this.refreshSoon(id);
      else await this.#refreshOrLater(id, call);
    }
    await removeOrphans(this.#parts, call.signal);
  }

  /** One container that the engine can't handle must not keep all others unknown. */
  async #refreshOrLater(id: ContainerId, call: Call): Promise<void> {
    try {
      await this.refresh(id, call);
    } catch (error) {
      // Only an engine that can't be reached is lost; one that answers, be it 500, is not.
      if (!(error instanceof Failure) || error.details.reason === "RUNTIME_UNAVAILABLE") throw error;
      this.refreshSoon(id);
    }
  }

  async #allRows(): Promise<readonly Container[]> {
    const rows: Container[] = [];
    let page = await this.#parts.store.list(containerTable, { limit: 500 });
    rows.push(...page.rows);
    while (page.next !== undefined) {
      page = await this.#parts.store.list(containerTable, { limit: 500, after: page.next });
      rows.push(...page.rows);
    }
    return rows;
  }

  async #up(): Promise<void> {
    const wasLost = this.#state.kind === "lost";
    this.#state = { kind: "up", since: this.#parts.clock() };
    if (wasLost) await this.#tell("runtime_recovered", { endpoint: this.#parts.runtime.endpoint });
    this.#onState(this.#state);
    this.#settled.resolve();
  }

  async #lost(reason: string): Promise<void> {
    if (this.#state.kind === "lost") {
      this.#state = { ...this.#state, reason };
      return;
    }
    this.#state = { kind: "lost", since: this.#parts.clock(), reason };
    this.#onState(this.#state);
    this.#settled.resolve();
    await this.#tell("runtime_lost", { endpoint: this.#parts.runtime.endpoint, reason });
  }

  async #tell(
    type: Extract<EventType, "runtime_lost" | "runtime_recovered">,
    data: Record<string, string>,
  ): Promise<void> {
    const { store, clock } = this.#parts;
    const event = { type, source: engineSource, at: clock(), data, priority: "high" as const };
    await store.change({}, () => changed(undefined, [], [event]));
  }
}

/** Whether a row and the engine's word for it are apart, or it was to be removed when it stopped and still is there. */
function differs(row: Container, fact: ContainerFacts | undefined): boolean {
  if (row.life.state === "waiting") return false;
  if (fact === undefined) return true;
  const life = lifeOf(fact, row);
  return !Bun.deepEquals(life, row.life) || (life.state === "exited" && row.config.removeOnStop);
}
