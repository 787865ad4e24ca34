import type { Background } from "../background.ts";
import { Failure } from "../failure.ts";
import { orAborted } from "../or-aborted.ts";
import type { Task, TaskId } from "./task.ts";
import type { Changing, TaskChanges } from "./task-changes.ts";
import type { Step } from "./task-rules.ts";

/** What has to become of a task. */
interface OwedMove {
  readonly task: Pick<Task, "id" | "sessionId">;
  readonly step: (task: Task, at: number) => Step;
  readonly changing: Changing;
}

/** How many are made at a time: many more would fill the store's queue, and others would be refused. */
const atOnce = 256;
/** How long after the store has refused some they are tried again, in milliseconds. */
const againMs = 1_000;

/** Changes of tasks that nobody awaits and that have to come about: those that the store refuses are made later. */
export class OwedMoves {
  readonly #changes: TaskChanges;
  readonly #background: Background;
  readonly #owed = new Map<TaskId, OwedMove>();
  #isAtWork = false;

  constructor(changes: TaskChanges, background: Background) {
    this.#changes = changes;
    this.#background = background;
  }

  /** Owes a task this, in place of what it was owed before. */
  add(move: OwedMove): void {
    this.#owed.set(move.task.id, move);
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    this.#background.start("change tasks", async (signal) => {
      try {
        await this.#makeAll(signal);
      } finally {
        this.#isAtWork = false;
      }
    });
  }

  async #makeAll(signal: AbortSignal): Promise<void> {
    while (this.#owed.size > 0) {
      const some = this.#owed.values().take(atOnce);
      const outcomes = await Promise.all([...some].map((move) => this.#make(move)));
      if (outcomes.includes("refused")) await orAborted(Bun.sleep(againMs), signal);
    }
  }

  async #make(move: OwedMove): Promise<"made" | "refused"> {
    const { task, step, changing } = move;
    try {
      await this.#changes.move(task, step, changing);
    } catch (error) {
      if (error instanceof Failure && error.kind !== "not_found") return "refused";
      this.#settle(move);
      if (!(error instanceof Failure)) throw error;
      return "made"; // it is gone, and owed nothing any more
    }
    this.#settle(move);
    return "made";
  }

  #settle(move: OwedMove): void {
    if (this.#owed.get(move.task.id) === move) this.#owed.delete(move.task.id);
  }
}
