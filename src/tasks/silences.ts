import type { Background } from "../background.ts";
import { Failure } from "../failure.ts";
import { HeldUp } from "../held-up.ts";
import type { HandingOut } from "./handing-out.ts";
import type { LiveTask } from "./live-task.ts";
import { holds, type Task, type TaskId } from "./task.ts";
import { systemChange, type TaskChanges } from "./task-changes.ts";
import { advanceTask } from "./task-rules.ts";

export interface SilencesOptions {
  readonly changes: TaskChanges;
  readonly handing: HandingOut;
  readonly background: Background;
  readonly monotonic: () => number;
  /** How long a worker whose stream has ended has to open it again, in milliseconds. */
  readonly reconnectMs: number;
  /** The same after a start of the server. */
  readonly restartMs: number;
  /** How long an agent may be silent, in milliseconds. */
  readonly agentMs: number;
  /** Wakes whoever calls `look`, in so many milliseconds at the latest. */
  readonly onDue: (inMs: number) => void;
}

/** A worker that is not heard of. */
interface Silent {
  readonly task: Task;
  /** `reconnect`: its stream has ended. `restart`: its server has. */
  readonly since: "reconnect" | "restart";
  readonly until: number;
  readonly forMs: number;
}

/** How often at most what a worker says of its progress is written, in milliseconds. */
const progressEveryMs = 1_000;

/**
 * Workers whose streams have ended before their tasks: they have a while to come back. The time is this server's own; one
 * that starts gives all of them a time anew.
 */
export class Silences {
  readonly #options: SilencesOptions;
  readonly #silent = new Map<TaskId, Silent>();
  /** Tasks whose progress is yet to be written. */
  readonly #progress = new Map<TaskId, { readonly live: LiveTask; readonly attempt: number }>();
  #progressAt = 0;
  readonly #heldUp = new HeldUp();

  constructor(options: SilencesOptions) {
    this.#options = options;
  }

  background(name: string, work: () => Promise<unknown>): void {
    this.#options.background.start(name, async () => void (await work()));
  }

  /** The stream of a task's worker has ended, or the server has that it was open to. */
  begin(task: Task, since: Silent["since"]): void {
    const forMs = since === "restart" ? this.#options.restartMs : this.#options.reconnectMs;
    this.#silent.set(task.id, { task, since, until: this.#options.monotonic() + forMs, forMs });
    this.#options.onDue(forMs);
  }

  /**
   * Its agent says that it is at it. That is believed of those whose streams the server itself has ended, for as long as
   * an agent may be silent.
   */
  claimed(id: TaskId): void {
    const silent = this.#silent.get(id);
    if (silent?.since !== "restart") return;
    const { restartMs, agentMs, monotonic } = this.#options;
    this.#silent.set(id, { ...silent, until: monotonic() + Math.max(restartMs, agentMs) });
  }

  /** It is back. */
  heard(id: TaskId): void {
    this.#silent.delete(id);
  }

  /** Notes how far a task is, to be written now and then: it is no step of its life. */
  noteProgress(live: LiveTask, attempt: number): void {
    this.#progress.set(live.task.id, { live, attempt });
    if (this.#progress.size === 1) this.#options.onDue(progressEveryMs);
  }

  /**
   * Takes the tasks from workers that have not come back in time; gives in how many milliseconds the next look is due.
   * Asked every `everyMs` at the latest.
   */
  look(everyMs: number): number {
    const now = this.#options.monotonic();
    const heldUpMs = this.#heldUp.look(now, everyMs);
    if (heldUpMs > 0)
      for (const [id, silent] of this.#silent)
        this.#silent.set(id, { ...silent, until: silent.until + heldUpMs });
    let next = Number.POSITIVE_INFINITY;
    for (const [id, { task, until, forMs }] of this.#silent) {
      if (until > now) {
        next = Math.min(next, until - now);
        continue;
      }
      this.#silent.delete(id);
      this.#options.handing.lose(
        task,
        `its worker's stream ended, and was not opened again in ${forMs / 1_000} s`,
      );
    }
    if (this.#progress.size === 0) return next;
    if (now - this.#progressAt < progressEveryMs)
      return Math.min(next, progressEveryMs - (now - this.#progressAt));
    this.#progressAt = now;
    this.background("write how far tasks are", () => this.#writeProgress());
    return next;
  }

  async #writeProgress(): Promise<void> {
    const all = [...this.#progress.values()];
    this.#progress.clear();
    const writing = all.map(async ({ live, attempt }) => {
      if (!holds(live.task, attempt)) return;
      const { progress } = live.progress;
      try {
        await this.#options.changes.move(
          live.task,
          (now) => advanceTask(now, { attempt, progress }),
          systemChange("note the progress of task"),
        );
      } catch (error) {
        // A disk that is full: how far it is now will be written with what comes next.
        if (!(error instanceof Failure)) throw error;
      }
    });
    await Promise.all(writing);
  }
}
