import { Bell } from "../events/bell.ts";
import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { changed, type Store } from "../store/store.ts";
import type { LiveTasks } from "./live-tasks.ts";
import type { Silences } from "./silences.ts";
import { agentOf, type Task } from "./task.ts";
import { systemChange, type TaskChanges } from "./task-changes.ts";
import { taskEvent, taskTable } from "./task-rows.ts";
import { ageTask, dueAt, type TaskPolicy } from "./task-rules.ts";

export interface TaskTimesOptions {
  readonly store: Store;
  readonly clock: () => Instant;
  readonly random: () => number;
  readonly policy: TaskPolicy;
}

/** What is moved when its time has come. */
interface Timed {
  readonly changes: TaskChanges;
  readonly silences: Silences;
  readonly live: LiveTasks;
  readonly signal: AbortSignal;
}

/** How often the wall clock is looked at: bounds how late a clock that jumped is noticed. Milliseconds. */
const lookEveryMs = 1_000;
/** How many tasks are moved at a time. */
const dueAtOnce = 256;

/** Brings about what time does to tasks: their deadlines are stored, so they survive a restart and a clock that jumps. */
export class TaskTimes {
  readonly #options: TaskTimesOptions;
  readonly #bell = new Bell();
  #plannedAt = 0;
  /** Tasks whose output is not kept from a byte on, which is yet to be told. */
  #cuts: { readonly task: Task; readonly offset: number }[] = [];

  constructor(options: TaskTimesOptions) {
    this.#options = options;
  }

  /** Tells of a task's next time, so that one that is sooner than the next look is not missed. */
  notice(task: Task): void {
    const at = dueAt(task);
    if (at !== null && at < this.#plannedAt) this.#bell.ring();
  }

  lookIn(ms: number): void {
    if (this.#options.clock() + ms < this.#plannedAt) this.#bell.ring();
  }

  noteCut(task: Task, offset: number): void {
    this.#cuts.push({ task, offset });
    this.#bell.ring();
  }

  /** Runs until the signal aborts; what waits for the disk is there then. */
  async run(timed: Timed): Promise<void> {
    const { signal, silences, live } = timed;
    signal.addEventListener("abort", this.#bell.ring, { once: true });
    while (!signal.aborted) {
      await this.#tellCuts();
      const moved = await this.#moveDue(timed);
      if (moved === dueAtOnce) continue;
      const silentMs = silences.look(lookEveryMs);
      live.sweep();
      const now = this.#options.clock();
      const waitMs = Math.min(
        lookEveryMs,
        silentMs,
        Math.max(1, ((await this.#nextDue()) ?? Number.POSITIVE_INFINITY) - now),
      );
      this.#plannedAt = now + waitMs;
      await this.#bell.wait(waitMs);
    }
    await live.flush();
  }

  async #nextDue(): Promise<Instant | undefined> {
    const query = { where: { dueAt: { gte: 0 } }, orderBy: "dueAt", limit: 1 };
    const next = (await this.#options.store.list(taskTable, query)).rows[0];
    return next === undefined ? undefined : (dueAt(next) ?? undefined);
  }

  async #moveDue({ changes }: Timed): Promise<number> {
    const { store, clock, random, policy } = this.#options;
    const { rows } = await store.list(taskTable, {
      where: { dueAt: { lte: clock() } },
      orderBy: "dueAt",
      limit: dueAtOnce,
    });
    const moves = rows.map((task) =>
      changes.move(
        task,
        (now, at) => ageTask(now, { at, policy, random: random() }),
        systemChange("end in time task"),
      ),
    );
    await Promise.all(moves);
    return rows.length;
  }

  async #tellCuts(): Promise<void> {
    const cuts = this.#cuts;
    this.#cuts = [];
    for (const { task, offset } of cuts) {
      const at = this.#options.clock();
      const data = {
        state: task.life.state,
        output_kept_bytes: String(offset),
        attempt: String(task.attempt),
      };
      const told = { type: "task_updated", agentId: agentOf(task), data } as const;
      const about = { ...systemChange("tell"), at, session: undefined };
      try {
        await this.#options.store.change({}, () => changed(undefined, [], [taskEvent(task, told, about)]));
      } catch (error) {
        if (!(error instanceof Failure)) throw error; // what is kept is in the task's row as well
      }
    }
  }
}
