import type { Store } from "../store/store.ts";
import type { LiveTask, Status } from "./live-task.ts";
import { wakeAll } from "./live-task.ts";
import { endOf, recordingName, recordingTable } from "./recorded-rows.ts";
import { Recording } from "./recording.ts";
import { isEnded, isLeased, type Task, type TaskId } from "./task.ts";
import { knownTask, taskTable } from "./task-rows.ts";

export interface LiveTasksOptions {
  readonly store: Store;
  readonly maxOutputBytes: number;
  readonly maxInputBytes: number;
  /** How long a worker waits for those who read what is not kept and have stopped, in milliseconds. */
  readonly readPatienceMs: number;
  /** Hears, once a task, that its output is not kept from this byte on. */
  readonly onCut: (task: Task, offset: number) => void;
}

/** How many tasks are remembered that nobody has looked at. */
const mostRecent = 1_024;

/** The tasks of which something is in memory: those that have streams, and those whose output waits for the disk. */
export class LiveTasks {
  readonly #options: LiveTasksOptions;
  readonly #tasks = new Map<TaskId, LiveTask>();
  readonly #opening = new Map<
    TaskId,
    { readonly live: Promise<LiveTask>; readonly watchers: LiveTask["watchers"] }
  >();
  /** Tasks of which nothing is recorded yet, as is known without asking the disk. */
  readonly #blank = new Set<TaskId>();
  /** The newest tasks that nobody has looked at yet, as they are now: those who ask for tasks look at them at once. */
  readonly #recent = new Map<TaskId, Task>();

  constructor(options: LiveTasksOptions) {
    this.#options = options;
  }

  get(id: TaskId): LiveTask | undefined {
    return this.#tasks.get(id);
  }

  /** A task was made just now: nothing can be recorded of it. */
  made(task: Task): void {
    this.#blank.add(task.id);
    this.#recent.set(task.id, task);
    if (this.#recent.size <= mostRecent) return;
    for (const oldest of this.#recent.keys().take(1)) this.#recent.delete(oldest);
  }

  /**
   * A task, for a stream that looks at it: `wake` is among its watchers from here on, so that it is not forgotten. Remove
   * that and call `left` when the stream ends. Failures: NOT_FOUND.
   */
  async open(id: TaskId, looking: { readonly doing: string; readonly wake: () => void }): Promise<LiveTask> {
    const { doing, wake } = looking;
    const known = this.#tasks.get(id);
    if (known !== undefined) {
      known.watchers.add(wake);
      return known;
    }
    let opening = this.#opening.get(id);
    if (opening === undefined) {
      const watchers: LiveTask["watchers"] = new Set();
      const live = this.#open(id, doing, watchers).finally(() => this.#opening.delete(id));
      opening = { live, watchers };
      this.#opening.set(id, opening);
    }
    opening.watchers.add(wake);
    return await opening.live;
  }

  /** A task has become another. */
  changed(before: Task, after: Task): void {
    if (isEnded(after)) this.#blank.delete(after.id);
    if (isEnded(after)) this.#recent.delete(after.id);
    else if (this.#recent.has(after.id)) this.#recent.set(after.id, after);
    const live = this.#tasks.get(after.id);
    if (live === undefined) return;
    live.task = after;
    if (before.attempt !== after.attempt) live.progress = { progress: 0, message: "", details: {} };
    if (before.life.state !== after.life.state || isCancelling(before) !== isCancelling(after)) {
      live.status = statusOf(after);
      live.statusCount += 1;
    }
    wakeAll(live);
    if (isEnded(after)) this.left(live);
  }

  /** A stream has ended, or the task has: what nobody looks at any more is forgotten once it is on the disk. */
  left(live: LiveTask): void {
    const { task, output, input } = live;
    if (live.watchers.size > 0 || output.isUnsaved || input.isUnsaved) return;
    if (this.#tasks.get(task.id) !== live) return;
    this.#tasks.delete(task.id);
    if (!isEnded(task) && output.total === 0 && input.total === 0) this.#blank.add(task.id);
  }

  /** Forgets what nobody looks at; for those whose last bytes had to wait for the disk. */
  sweep(): void {
    for (const live of this.#tasks.values()) this.left(live);
  }

  /** Brings to the disk what is recorded. */
  async flush(): Promise<void> {
    const all = [...this.#tasks.values()].flatMap(({ output, input }) => [output.flush(), input.flush()]);
    await Promise.all(all);
  }

  async #open(id: TaskId, doing: string, watchers: LiveTask["watchers"]): Promise<LiveTask> {
    const recent = this.#recent.get(id);
    const task = recent ?? knownTask(await this.#options.store.get(taskTable, id), { id, doing });
    const isBlank = this.#blank.delete(id);
    const live: LiveTask = {
      task,
      output: await this.#recording(task, "output", isBlank),
      input: await this.#recording(task, "input", isBlank),
      watchers,
      statusCount: 1,
      status: statusOf(task),
      progressCount: 0,
      progress: { progress: task.progress, message: "", details: {} },
      worker: undefined,
      result: undefined,
    };
    this.#tasks.set(id, live);
    // What has become of it since the first look; from here on changed() tells.
    const now = this.#recent.get(id) ?? (await this.#options.store.get(taskTable, id));
    this.#recent.delete(id);
    if (now !== undefined && live.task === task) {
      live.task = now;
      live.status = statusOf(now);
    }
    return live;
  }

  async #recording(task: Task, kind: "output" | "input", isBlank: boolean): Promise<Recording> {
    const { store, maxOutputBytes, maxInputBytes, readPatienceMs, onCut } = this.#options;
    // What goes into a task that has ended nobody reads any more.
    const isEmpty = isBlank || (isEnded(task) && (kind === "input" || task.outputBytes === 0));
    const kept = isEmpty ? 0 : await keptBytes(store, task.id, kind);
    return new Recording({
      ...{ store, taskId: task.id, kind, kept },
      total: kind === "output" ? Math.max(kept, task.outputBytes) : kept,
      maxBytes: kind === "output" ? maxOutputBytes : maxInputBytes,
      unread: kind === "output" ? { patienceMs: readPatienceMs } : "waits",
      onCut: (offset) => {
        if (kind === "output") onCut(task, offset);
      },
    });
  }
}

/** How many of the first bytes of a recording are on the disk. */
async function keptBytes(store: Store, id: TaskId, kind: "output" | "input"): Promise<number> {
  const { rows } = await store.list(recordingTable, {
    where: { recording: recordingName(id, kind) },
    orderBy: "startsAt",
    descending: true,
    limit: 1,
  });
  const last = rows[0];
  return last === undefined ? 0 : endOf(last);
}

/** What those who watch a task are told of the state that it is in. */
function statusOf(task: Task): Status {
  const { life } = task;
  const state = life.state;
  if (isEnded(task)) {
    const message = task.life.state === "completed" ? "" : task.life.error.message;
    return { state, message, at: task.life.at };
  }
  if (!isLeased(task))
    return { state, message: life.state === "queued" ? life.reason : "", at: task.createdAt };
  const { cancel, agentId, startedAt, since } = task.life;
  const words =
    cancel === null ? `attempt ${task.attempt}, agent ${agentId}` : `is being cancelled: ${cancel.reason}`;
  return { state, message: words, at: startedAt ?? since };
}

function isCancelling(task: Task): boolean {
  return isLeased(task) && task.life.cancel !== null;
}
