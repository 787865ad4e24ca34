import type { Call } from "../call.ts";
import { Failure, invalid } from "../failure.ts";
import { put } from "../store/store.ts";
import type { HandingOut } from "./handing-out.ts";
import { type LiveTask, type WorkerEnd, wakeAll } from "./live-task.ts";
import type { OpenedStream } from "./opened-stream.ts";
import type { RecordingReader } from "./recording.ts";
import type { Silences } from "./silences.ts";
import { agentOf, holds, isEnded, isLeased, type Leased, type Task, type TaskId } from "./task.ts";
import type { TaskChanges } from "./task-changes.ts";
import { outputAnswers, type TaskAnswer, type WorkerFrame } from "./task-frames.ts";
import { cutError, cutMap, cutText } from "./task-limits.ts";
import { type TaskData, taskDataTable } from "./task-rows.ts";
import { beginTask, completeTask, failAttempt, giveUpTask, holdTask, type TaskPolicy } from "./task-rules.ts";

export interface WorkerStreamParts {
  readonly tasks: {
    resultOf(id: TaskId): Promise<TaskData | undefined>;
    cancel(
      id: TaskId,
      options: { readonly reason: string; readonly how: "graceful" | "force" },
      call: Pick<Call, "actor" | "correlationId">,
    ): Promise<unknown>;
  };
  readonly changes: TaskChanges;
  readonly handing: HandingOut;
  readonly silences: Silences;
  readonly policy: TaskPolicy;
  readonly clock: () => number;
  readonly random: () => number;
  readonly maxResultBytes: number;
  /** Whether a registration token is that of an agent; false for agents that are not there. */
  readonly isTokenOf: (token: string, agentId: string) => boolean;
  /** The process that last spoke as an agent. */
  readonly pidOf: (agentId: string) => number | undefined;
  /** Counts as a sign of an agent's life. */
  readonly saw: (agentId: string) => void;
  /** Counts as its life until the returned function is called. */
  readonly streamOpened: (agentId: string) => () => void;
  /** Counts as use of the task's session. */
  readonly touched: (task: Task) => void;
}

/** The worker's end of a stream: it speaks for one attempt, and for no other once that is over. */
export class WorkerStreamEnd implements WorkerEnd {
  readonly attempt: number;
  readonly pid: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly #live: LiveTask;
  readonly #parts: WorkerStreamParts;
  readonly #call: Call;
  readonly #agentId: string;
  readonly #wake: () => void;
  readonly #input: RecordingReader;
  #isDisplaced = false;
  #isBeginning = false;
  #isCancelTold = false;
  /** What it has brought about by coming, while that is on its way to the disk. */
  #begun: Promise<unknown> | undefined;

  constructor(live: LiveTask, parts: WorkerStreamParts, opening: OpenedStream, wake: () => void) {
    const { task } = live;
    const { opener } = opening;
    this.#live = live;
    this.#parts = parts;
    this.#call = opening.call;
    this.#wake = wake;
    this.pid = opener.pid;
    this.attempt = opener.attempt ?? task.attempt;
    this.#agentId = agentOf(task);
    this.#input = live.input.reader(opening.offset);
    // Of a task that has ended its worker is told just that.
    if (isEnded(task)) {
      this.headers = {};
      return;
    }
    this.#check(task, opening);
    const { outputFrom } = task.life;
    this.headers = {
      "x-baaaht-attempt": String(this.attempt),
      "x-baaaht-output-bytes": String(Math.max(0, live.output.total - outputFrom)),
    };
    live.worker?.displace();
    live.worker = this;
    parts.silences.heard(task.id);
    this.heard();
    if (task.life.state === "pending") this.#begin();
  }

  /** Whether it speaks for the attempt in force, and nobody else does. */
  get isInForce(): boolean {
    return !this.#isDisplaced && holds(this.#live.task, this.attempt);
  }

  /** Whether it has begun its attempt, and that is not on the disk yet. */
  get isBeginning(): boolean {
    return this.#isBeginning && this.isInForce && this.#live.task.life.state === "pending";
  }

  /** Whether another stream has taken its place. */
  get isDisplaced(): boolean {
    return this.#isDisplaced;
  }

  displace(): void {
    this.#isDisplaced = true;
    this.#wake();
  }

  /** It shows that it is there. */
  heard(): void {
    this.#parts.saw(this.#agentId);
    this.#parts.handing.seen(this.#agentId);
  }

  /** What it is to be told; `over` when it has nothing more to do here. */
  async *news(): AsyncGenerator<TaskAnswer, "over" | "more", undefined> {
    const live = this.#live;
    for (;;) {
      const { task } = live;
      if (isEnded(task)) {
        yield { kind: "status", ...live.status };
        return "over";
      }
      if (this.#isDisplaced) throw displaced(task.id);
      if (!holds(task, this.attempt)) throw fenced(task.id, this.attempt);
      if (task.life.cancel !== null && !this.#isCancelTold) {
        this.#isCancelTold = true;
        const { reason, endsAt } = task.life.cancel;
        const at = endsAt - this.#parts.policy.cancelGraceMs;
        yield { kind: "status", state: "cancelled", message: reason || "it was cancelled", at };
        continue;
      }
      const recorded = await this.#input.read();
      if (recorded === undefined) return "more";
      yield* outputAnswers(recorded, this.#input.offset);
    }
  }

  async take(frame: WorkerFrame): Promise<void> {
    const { task } = this.#live;
    // What comes behind the end, or from an attempt that is not in force, changes nothing; its stream is about to end.
    if (isEnded(task) || !this.isInForce) return;
    this.heard();
    switch (frame.kind) {
      case "output":
        this.#output(frame);
        return;
      case "progress":
        this.#progress(frame);
        return;
      case "status":
        return await this.#status(frame);
      case "complete":
        return await this.#complete(frame);
      case "error":
        await this.#flushWith(
          this.#move((now, at) =>
            failAttempt(now, {
              ...{ attempt: this.attempt, error: cutError(frame.error), at },
              ...{ policy: this.#parts.policy, random: this.#parts.random() },
            }),
          ),
        );
    }
  }

  /** Its stream has ended: unless the task has too, the worker has a while to come back. */
  close(signal: AbortSignal): void {
    const live = this.#live;
    this.#input[Symbol.dispose]();
    if (live.worker !== this) return;
    live.worker = undefined;
    const { task } = live;
    if (!holds(task, this.attempt) || isShutdown(signal)) return;
    this.#parts.handing.doubted(this.#agentId);
    if (task.life.cancel === null) {
      this.#parts.silences.begin(task, "reconnect");
      return;
    }
    const { reason } = task.life.cancel;
    this.#parts.silences.background("end a task whose worker was told to give it up", () =>
      this.#move((now, at) => giveUpTask(now, { attempt: this.attempt, reason, at })),
    );
  }

  /** Whether it may speak for the attempt in force. */
  #check(task: Task, { opener }: OpenedStream): asserts task is Task & { readonly life: Leased } {
    const { id } = task;
    if (!isLeased(task)) throw task.attempt > 0 ? fenced(id, this.attempt) : nobodyHas(id);
    if (!holds(task, this.attempt)) throw fenced(id, this.attempt);
    if (opener.token !== undefined) {
      if (!this.#parts.isTokenOf(opener.token, this.#agentId)) throw fenced(task.id, this.attempt);
      return;
    }
    if (opener.attempt !== undefined) return;
    // Who does not say for whom it speaks is believed, unless somebody else does already; and unless it may speak for an
    // attempt before this one, which is what another process than the agent's does.
    const { worker } = this.#live;
    const theirs = worker?.pid ?? (this.attempt > 1 ? this.#parts.pidOf(this.#agentId) : undefined);
    const isOther = theirs !== undefined && opener.pid !== undefined && theirs !== opener.pid;
    if (isOther) throw fenced(task.id, this.attempt);
  }

  #begin(): void {
    const { policy } = this.#parts;
    const { attempt } = this;
    const begun = this.#move((now, at) => beginTask(now, { attempt, at, policy }));
    this.#begun = begun;
    this.#isBeginning = true;
    begun.catch(() => {
      // Whoever awaits it hears of it; the next frame does.
      this.#isBeginning = false;
      this.#wake();
    });
  }

  #output(frame: Extract<WorkerFrame, { readonly kind: "output" }>): void {
    const { output } = this.#live;
    const { data, text } = frame;
    if (data.byteLength === 0 && text === "") return;
    const stream = cutText(frame.stream, maxStreamName);
    output.append({ ...{ stream, data, text }, attempt: this.attempt, metadata: {}, isLast: false });
    wakeAll(this.#live);
  }

  #progress(frame: Extract<WorkerFrame, { readonly kind: "progress" }>): void {
    const { progress } = frame;
    if (!(progress >= 0 && progress <= 1)) {
      const description = `is ${progress}; 0 to 1 are allowed`;
      throw invalid("take the progress of a task", [{ field: "progress.percent", description }]);
    }
    const live = this.#live;
    const message = cutText(frame.message, maxWords);
    live.progress = {
      progress: Math.max(live.progress.progress, progress),
      message,
      details: cutMap(frame.details),
    };
    live.progressCount += 1;
    wakeAll(live);
    this.#parts.silences.noteProgress(live, this.attempt);
  }

  async #status(frame: Extract<WorkerFrame, { readonly kind: "status" }>): Promise<void> {
    const live = this.#live;
    const reason = cutText(frame.message, maxWords);
    const { attempt } = this;
    const { state } = frame;
    if (state === "cancelled") {
      await this.#flushWith(this.#move((now, at) => giveUpTask(now, { attempt, reason, at })));
      return;
    }
    if (state === "running" || state === "paused") {
      await this.#begun;
      await this.#move((now) => holdTask(now, { attempt, state, reason }));
    }
    // What else it may say of a state is said for good by `complete` and `error_msg`; its words are passed on.
    if (isEnded(live.task) || reason === "") return;
    live.status = { state: live.task.life.state, message: reason, at: this.#parts.clock() };
    live.statusCount += 1;
    wakeAll(live);
  }

  async #complete(frame: Extract<WorkerFrame, { readonly kind: "complete" }>): Promise<void> {
    const { task } = this.#live;
    if (frame.taskId !== "" && frame.taskId !== task.id) {
      const description = `is "${frame.taskId.slice(0, 64)}"; this stream is of task "${task.id}"`;
      throw invalid("complete a task", [{ field: "complete.task_id", description }]);
    }
    const { attempt } = this;
    const { result, data } = keptResult(task.id, frame, this.#parts.maxResultBytes);
    const rows = () => {
      this.#live.result = { attempt, data };
      return data === undefined ? [] : [put(taskDataTable, data)];
    };
    await this.#flushWith(this.#move((now, at) => completeTask(now, { attempt, result, at }), rows));
  }

  /** All that it wrote reaches the disk by the commit of the end. */
  async #flushWith(move: Promise<unknown>): Promise<void> {
    await Promise.all([this.#live.output.flush(), this.#begun, move]);
  }

  #move(
    step: Parameters<TaskChanges["move"]>[1],
    rows: () => readonly ReturnType<typeof put>[] = () => [],
  ): Promise<unknown> {
    const { actor, correlationId } = this.#call;
    const changing = { source: "agent.grpc", actor, correlationId, doing: "report on task" } as const;
    return this.#parts.changes.move(this.#live.task, step, { ...changing, rows });
  }
}

/** Of a worker's words for people, and of what it calls its streams; UTF-16 units. */
const maxWords = 4_096;
const maxStreamName = 64;

/** A result as far as it is kept; what of its output is too much is cut, and it says so. */
function keptResult(
  taskId: TaskId,
  frame: Extract<WorkerFrame, { readonly kind: "complete" }>,
  most: number,
): {
  readonly result: Extract<WorkerFrame, { readonly kind: "complete" }>["result"];
  readonly data?: TaskData;
} {
  const { outputData, outputText, errorText } = frame;
  const data = outputData.subarray(0, most);
  const text = outputText.slice(0, most).toWellFormed();
  const errors = errorText.slice(0, most).toWellFormed();
  const isCut =
    data.byteLength < outputData.byteLength ||
    text.length < outputText.length ||
    errors.length < errorText.length;
  const metadata = { ...cutMap(frame.result.metadata), ...(isCut ? { truncated: "true" } : {}) };
  const result = { ...frame.result, metadata };
  if (data.byteLength === 0 && text === "" && errors === "") return { result };
  const encoded = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
  const kept = {
    ...{ taskId, kind: "result" as const, data: encoded },
    ...{ outputText: text, errorText: errors },
  };
  return { result, data: kept };
}

function isShutdown(signal: AbortSignal): boolean {
  const reason: unknown = signal.reason;
  return reason instanceof Failure && reason.details.reason === "SHUTTING_DOWN";
}

function fenced(id: TaskId, attempt: number): Failure {
  return new Failure(
    "aborted",
    `Cannot report on task "${id}": attempt ${attempt} is not in force; the task is somebody else's, or waits`,
    { reason: "ATTEMPT_FENCED", metadata: { task_id: id, attempt: String(attempt) } },
  );
}

function displaced(id: TaskId): Failure {
  return new Failure(
    "aborted",
    `Cannot go on with the stream of task "${id}": its worker has opened another one`,
    { reason: "STREAM_REPLACED", metadata: { task_id: id } },
  );
}

function nobodyHas(id: TaskId): Failure {
  return new Failure(
    "failed_precondition",
    `Cannot report on task "${id}": it was not handed out; it waits for an agent`,
    { reason: "TASK_NOT_HANDED_OUT", metadata: { task_id: id } },
  );
}
