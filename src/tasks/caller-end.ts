import type { LiveTask } from "./live-task.ts";
import type { RecordingReader } from "./recording.ts";
import { isEnded, type TaskId } from "./task.ts";
import { outputAnswers, type TaskAnswer, type WorkerResult } from "./task-frames.ts";
import type { TaskData } from "./task-rows.ts";

/** What a caller's end needs of the rest. */
export interface CallerParts {
  readonly tasks: { resultOf(id: TaskId): Promise<TaskData | undefined> };
}

/** What a caller or a watcher is told: what came out so far, how it is now, and then all that comes. */
export class CallerEnd implements Disposable {
  readonly #live: LiveTask;
  readonly #parts: CallerParts;
  readonly #reader: RecordingReader;
  #statusCount = 0;
  #progressCount = 0;

  /** @param offset the byte of the output to begin with */
  constructor(live: LiveTask, parts: CallerParts, offset: number) {
    this.#live = live;
    this.#parts = parts;
    this.#reader = live.output.reader(offset);
  }

  /** What is new; `over` when the task has ended and all is told. */
  async *news(): AsyncGenerator<TaskAnswer, "over" | "more", undefined> {
    const live = this.#live;
    for (;;) {
      // An end that is there before the output is looked at comes after all of it.
      const { task } = live;
      const hasEnded = isEnded(task);
      // First how it is; that it has ended is told behind what it wrote.
      if (!hasEnded && this.#statusCount !== live.statusCount) yield this.#status();
      const recorded = await this.#reader.read();
      if (recorded !== undefined) {
        yield* outputAnswers(recorded, this.#reader.offset);
        continue;
      }
      if (!hasEnded) {
        if (this.#progressCount !== live.progressCount) {
          this.#progressCount = live.progressCount;
          yield { kind: "progress", ...live.progress };
        }
        if (this.#statusCount !== live.statusCount) continue;
        return "more";
      }
      if (this.#statusCount !== live.statusCount) yield this.#status();
      yield await this.#end(task);
      return "over";
    }
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }

  #status(): TaskAnswer {
    this.#statusCount = this.#live.statusCount;
    return { kind: "status", ...this.#live.status };
  }

  async #end(task: LiveTask["task"]): Promise<TaskAnswer> {
    if (!isEnded(task)) throw new Error("the end of a task that has not ended is not told");
    if (task.life.state !== "completed") return { kind: "error", error: task.life.error };
    const { at, result } = task.life;
    const { result: said } = this.#live;
    const output = said?.attempt === task.attempt ? said.data : await this.#parts.tasks.resultOf(task.id);
    const whole: WorkerResult = {
      result,
      outputData: Buffer.from(output?.data ?? "", "base64"),
      outputText: output?.outputText ?? "",
      errorText: output?.errorText ?? "",
    };
    return { kind: "complete", taskId: task.id, at, ...whole };
  }
}
