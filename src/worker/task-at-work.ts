import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import type { TaskStrands } from "../client/task-strands.ts";
import { abortFailure, Failure } from "../failure.ts";
import {
  type Task,
  type TaskError,
  TaskErrorSchema,
  type TaskResult,
  TaskResultSchema,
  TaskState,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { Captured } from "./captured.ts";
import { OutputFrames } from "./output-frames.ts";
import { type RunTask, TaskEnded, type TaskOutcome } from "./running-task.ts";
import { TaskStream } from "./task-stream.ts";

export interface TaskAtWorkOptions {
  readonly taskId: string;
  /** As the server has named it; empty where it did not. */
  readonly attempt: string;
  /** As it came with that just now; undefined: it is asked for, and begun when the server has said that the attempt is in force. */
  readonly task: Task | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly strands: TaskStrands;
  readonly run: RunTask;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** How a task went for this worker. */
export type TaskReport =
  | { readonly how: "completed"; readonly exitCode: number }
  | { readonly how: "failed"; readonly code: string; readonly message: string }
  | { readonly how: "ended"; readonly by: TaskEnded };

/** The reason of a Failure after which an attempt has no end: how it went can't be told, and the server decides. */
export const ATTEMPT_LOST = "ATTEMPT_LOST";

/** How long a server may take to end the stream of a task that was given back. Milliseconds. */
const LEAVE_MS = 2_000;

const ENDS: ReadonlySet<TaskState> = new Set([
  TaskState.COMPLETED,
  TaskState.FAILED,
  TaskState.CANCELLED,
  TaskState.TIMEOUT,
]);

/** One task that this worker does: what it says goes to the server, what the server says goes to it. */
export class TaskAtWork {
  readonly #client: Client;
  readonly #options: TaskAtWorkOptions;
  readonly #stream: TaskStream;
  /** Aborts what does the task. */
  readonly #work = new AbortController();
  /** Aborts the stream. */
  readonly #line = new AbortController();
  readonly #captured = { stdout: new Captured(), stderr: new Captured() };
  readonly #frames = new Map<string, OutputFrames>();
  #isOver = false;

  constructor(client: Client, options: TaskAtWorkOptions) {
    this.#client = client;
    this.#options = options;
    const { taskId, attempt, metadata, strands } = options;
    const told = (end: TaskEnded) => this.end(end);
    this.#stream = new TaskStream(client, { taskId, attempt, metadata, strands, told });
  }

  /** The attempt, as the server has named it; empty where it did not. */
  get attempt(): string {
    return this.#stream.attempt;
  }

  /** Has it end: from outside, or because the worker goes. */
  end(end: TaskEnded): void {
    const before = TaskEnded.of(this.#work.signal);
    if (before !== undefined && end.how === "forced" && !this.#isOver) before.hurry();
    this.#work.abort(end);
    if (end.how === "left") this.#leave(LEAVE_MS);
  }

  /** Does it, and gives how it went. Never throws. */
  async run(): Promise<TaskReport> {
    const following = this.#stream.follow(this.#line.signal).then(
      () => this.#cutOff("the server has ended its stream"),
      (error) => this.#cutOff(error instanceof Error ? error.message : String(error)),
    );
    const report = await this.#attempt();
    this.#isOver = true;
    // What was done, or given up on request, is told when the server has ended the stream.
    if (report.how === "ended" && (report.by.how === "lost" || report.by.how === "timed_out")) this.#leave(0);
    await following;
    return report;
  }

  /** The server has no more to say. */
  #cutOff(why: string): void {
    if (!this.#isOver) this.end(new TaskEnded("lost", why));
  }

  /** Has no more to say, and does not wait longer than `ms` for the server to end the stream. */
  #leave(ms: number): void {
    this.#stream.leave();
    setTimeout(() => this.#line.abort(), ms).unref();
  }

  async #attempt(): Promise<TaskReport> {
    const begun = this.#options.clock();
    const task = await this.#begin();
    if (task instanceof TaskEnded) return { how: "ended", by: task };
    try {
      const outcome = (await this.#options.run(this.#running(task))) ?? {};
      if (this.#work.signal.aborted) throw abortFailure(this.#work.signal);
      await this.#flush();
      const result = this.#result(outcome, begun);
      this.#stream.finish({
        case: "complete",
        value: { taskId: task.id, result, completedAt: timestampFromMs(this.#options.clock()) },
      });
      return { how: "completed", exitCode: result.exitCode };
    } catch (error) {
      return await this.#failed(error);
    }
  }

  /** What is to be done, once the server has this worker do it. */
  async #begin(): Promise<Task | TaskEnded> {
    const { taskId, task: given, metadata } = this.#options;
    if (given !== undefined) return given;
    const read = this.#client.agent.getTaskStatus({ taskId }, { signal: this.#work.signal, metadata });
    try {
      const [{ task }] = await Promise.all([read, this.#stream.opened]);
      if (task === undefined)
        throw new Failure("internal", "Cannot read the server's answer: it has no task in it");
      if (!ENDS.has(task.state)) return task;
      throw new Failure("failed_precondition", "Cannot begin the task: it has ended");
    } catch (error) {
      this.end(new TaskEnded("left", error instanceof Error ? error.message : String(error)));
      return TaskEnded.of(this.#work.signal) ?? new TaskEnded("left", "it could not be begun");
    }
  }

  async #failed(error: unknown): Promise<TaskReport> {
    const ended = TaskEnded.of(this.#work.signal);
    if (ended !== undefined) {
      if (ended.how === "cancelled" || ended.how === "forced") {
        await this.#flush();
        this.#stream.finish({ case: "errorMsg", value: this.#error("CANCELLED", ended.message) });
      }
      return { how: "ended", by: ended };
    }
    if (Failure.from(error)?.details.reason === ATTEMPT_LOST) {
      const lost = new TaskEnded("left", error instanceof Error ? error.message : "");
      this.end(lost);
      return { how: "ended", by: lost };
    }
    await this.#flush();
    const value = this.#errorOf(error);
    this.#stream.finish({ case: "errorMsg", value });
    return { how: "failed", code: value.code, message: value.message };
  }

  #running(task: Task) {
    return {
      task,
      signal: this.#work.signal,
      input: this.#stream.input,
      write: (data: Uint8Array | string, stream = "stdout") => this.#write(data, stream),
      progress: (done: number, message = "") =>
        this.#stream.send({ case: "progress", value: { percent: done, message } }),
    };
  }

  async #write(data: Uint8Array | string, streamType: string): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    const frames = this.#frames.get(streamType) ?? new OutputFrames();
    this.#frames.set(streamType, frames);
    if (streamType === "stdout" || streamType === "stderr") this.#captured[streamType].add(bytes);
    for (const frame of frames.take(bytes)) await this.#stream.output(frame, streamType);
  }

  async #flush(): Promise<void> {
    for (const [streamType, frames] of this.#frames)
      for (const frame of frames.rest()) await this.#stream.output(frame, streamType);
  }

  #result(outcome: TaskOutcome, begun: number): TaskResult {
    const { stdout, stderr } = this.#captured;
    const text = outcome.text ?? (outcome.data === undefined ? stdout.text() : undefined);
    const isCut =
      (stdout.isCut && outcome.text === undefined && outcome.data === undefined) ||
      (stderr.isCut && outcome.errorText === undefined);
    const now = this.#options.clock();
    return create(TaskResultSchema, {
      exitCode: outcome.exitCode ?? 0,
      outputText: text ?? "",
      outputData: outcome.data ?? (text === undefined ? stdout.bytes() : new Uint8Array(0)),
      errorText: outcome.errorText ?? stderr.text() ?? "",
      metadata: { ...(isCut && { truncated: "true" }), ...outcome.metadata },
      completedAt: timestampFromMs(now),
      executionDurationNs: BigInt(Math.max(0, now - begun)) * 1_000_000n,
    });
  }

  #errorOf(error: unknown): TaskError {
    const failure = Failure.from(error);
    if (failure !== undefined) {
      const details = (failure.details.violations ?? []).map(
        ({ field, description }) => `${field} ${description}`,
      );
      const metadata = Object.entries(failure.details.metadata ?? {}).map(
        ([key, value]) => `${key}=${value}`,
      );
      const code = failure.details.reason ?? failure.kind.toUpperCase();
      return this.#error(code, failure.message, { details: [...details, ...metadata] });
    }
    const defect = error instanceof Error ? error : new Error(String(error));
    return this.#error("WORKER_DEFECT", defect.message, { stackTrace: defect.stack ?? "" });
  }

  #error(
    code: string,
    message: string,
    more: Pick<MessageInitShape<typeof TaskErrorSchema>, "details" | "stackTrace"> = {},
  ): TaskError {
    const occurredAt = timestampFromMs(this.#options.clock());
    return create(TaskErrorSchema, { code, message, occurredAt, ...more });
  }
}
