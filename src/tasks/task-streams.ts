import type { Background } from "../background.ts";
import { Bell } from "../events/bell.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import { CallerEnd } from "./caller-end.ts";
import type { LiveTask } from "./live-task.ts";
import type { LiveTasks } from "./live-tasks.ts";
import type { OpenedStream } from "./opened-stream.ts";
import type { NewPiece } from "./piece.ts";
import { agentOf, holds, isEnded, isLeased, type TaskId } from "./task.ts";
import { systemChange } from "./task-changes.ts";
import { isWorkers, type TaskAnswer, type TaskFrame } from "./task-frames.ts";
import { cutInput } from "./task-rules.ts";
import { WorkerStreamEnd, type WorkerStreamParts } from "./worker-end.ts";

export interface TaskStreamsParts extends WorkerStreamParts {
  readonly live: LiveTasks;
  readonly background: Background;
  readonly maxStreams: number;
  /** Whether an agent has said that it is at a task when it last spoke of its tasks. */
  readonly saysItIsAt: (agentId: string, taskId: string) => boolean;
}

/**
 * Streams of tasks, both ends: callers and watchers get what comes out and how it ends, the worker reports and gets what
 * goes in. Which end a stream is its frames say: see `TaskStream`.
 */
export class TaskStreams {
  readonly #parts: TaskStreamsParts;

  constructor(parts: TaskStreamsParts) {
    this.#parts = parts;
  }

  /**
   * Serves one stream of a task until the task has ended, or the stream has.
   *
   * Failures: NOT_FOUND; ABORTED when it speaks for an attempt that is not in force any more; FAILED_PRECONDITION when
   * input comes for a task that has ended, or reports for one that nobody has; INVALID_ARGUMENT for what makes no sense;
   * RESOURCE_EXHAUSTED when there are too many streams on the task.
   */
  async *serve(id: TaskId, opening: OpenedStream): AsyncGenerator<TaskAnswer, void, undefined> {
    const { live: tasks, maxStreams } = this.#parts;
    const bell = new Bell();
    const live = await tasks.open(id, { doing: "open the stream of task", wake: bell.ring });
    let stream: TaskStream | undefined;
    try {
      if (live.watchers.size > maxStreams + this.#roomFor(live, opening))
        throw tooManyStreams(id, maxStreams);
      stream = new TaskStream(live, this.#parts, { opening, bell });
      yield* stream.answers();
    } finally {
      live.watchers.delete(bell.ring);
      stream?.close();
      tasks.left(live);
    }
  }

  /**
   * How many more streams there may be for this one: those who watch must not keep out the worker, of which there is one at
   * a time, on a stream that says so or comes from its process.
   */
  #roomFor({ task, worker }: LiveTask, { opener }: OpenedStream): number {
    if (opener.token !== undefined || opener.attempt !== undefined) return Number.POSITIVE_INFINITY;
    const isTheirs = isLeased(task) && this.#parts.pidOf(task.life.agentId) === opener.pid;
    return worker === undefined && opener.pid !== undefined && isTheirs ? 1 : 0;
  }
}

/**
 * One stream. It is the worker's when it names itself, or from its first report on; a caller's from its first input or
 * cancel on. One that has only sent heartbeats watches; when its process is that of the agent that has the task, it may be a
 * worker that has nothing to say yet, so it gets the input as well.
 */
class TaskStream {
  readonly #live: LiveTask;
  readonly #parts: TaskStreamsParts;
  readonly #opening: OpenedStream;
  readonly #bell: Bell;
  #role: "open" | "caller" | "worker" = "open";
  #worker: WorkerStreamEnd | undefined;
  /** Ends what the stream is for the life of the worker's agent. */
  #letGo: (() => void) | undefined;
  #caller: CallerEnd | undefined;
  #frames = 0;
  #touchedAt = 0;
  #heartbeats = 0;
  #wrong: { readonly error: unknown } | undefined;
  #halfClosed = false;
  #isOver = false;
  /** Ends what waits for room; made when something does. */
  #over: AbortController | undefined;

  /** @param of rings when there is something new on the task */
  constructor(
    live: LiveTask,
    parts: TaskStreamsParts,
    of: { readonly opening: OpenedStream; readonly bell: Bell },
  ) {
    this.#live = live;
    this.#parts = parts;
    this.#opening = of.opening;
    this.#bell = of.bell;
  }

  async *answers(): AsyncGenerator<TaskAnswer, void, undefined> {
    const { call, opened } = this.#opening;
    call.signal.addEventListener("abort", this.#bell.ring, { once: true });
    // Its frames end with its answers, at the latest.
    this.#parts.background.start("read the stream of a task", () => this.#pump());
    try {
      for (;;) {
        if (this.#wrong !== undefined) throw this.#wrong.error;
        if (call.signal.aborted) throw abortFailure(call.signal);
        // What it is to be told depends on which end it is, and that its first frame says. A worker is told nothing until
        // its attempt has begun: what it is told says that.
        if ((this.#frames > 0 || this.#halfClosed) && this.#worker?.isBeginning !== true) {
          opened(this.#worker?.headers ?? {});
          while (this.#heartbeats > 0) {
            this.#heartbeats -= 1;
            yield { kind: "heartbeat" };
          }
          const over = yield* this.#news();
          if (over === "over") return;
        }
        await this.#bell.wait();
      }
    } finally {
      call.signal.removeEventListener("abort", this.#bell.ring);
      this.#isOver = true;
      this.#over?.abort();
    }
  }

  close(): void {
    this.#worker?.close(this.#opening.call.signal);
    this.#letGo?.();
    this.#caller?.[Symbol.dispose]();
  }

  async *#news(): AsyncGenerator<TaskAnswer, "over" | "more", undefined> {
    const worker = this.#worker;
    if (this.#role === "worker" && worker !== undefined) {
      const over = yield* worker.news();
      return this.#halfClosed ? "over" : over;
    }
    // While it may be the worker it is not told what the worker has written.
    if (worker?.isInForce === true) return yield* worker.news();
    this.#caller ??= new CallerEnd(this.#live, this.#parts, this.#opening.offset);
    return yield* this.#caller.news();
  }

  async #pump(): Promise<void> {
    try {
      for await (const frame of this.#opening.frames) {
        if (this.#isOver) return;
        await this.#take(frame);
      }
      this.#halfClosed = true;
    } catch (error) {
      this.#wrong ??= { error };
    }
    this.#bell.ring();
  }

  async #take(frame: TaskFrame): Promise<void> {
    this.#touch();
    const isFirst = this.#frames === 0;
    // An agent may be a caller too, which its first frame says.
    const isOfCaller = frame.kind === "input" || frame.kind === "cancel";
    if (isFirst && !isOfCaller && this.#isNamed()) this.#beWorker();
    this.#frames += 1;
    if (frame.kind === "none") {
      if (isFirst) this.#bell.ring();
      return;
    }
    if (frame.kind === "heartbeat") {
      this.#heartbeats += 1;
      if (isFirst && this.#mayBeWorker()) this.#worker ??= this.#newWorker();
      this.#worker?.heard();
      this.#bell.ring();
      return;
    }
    if (isWorkers(frame)) {
      if (this.#role === "caller") throw mixed("a caller's", frame.kind);
      const worker = this.#beWorker();
      if (isFirst) this.#bell.ring();
      await worker.take(frame);
      if (this.#live.output.isFull) await this.#live.output.room(this.#untilOver());
      this.#bell.ring();
      return;
    }
    if (this.#role === "worker") throw mixed("its worker's", frame.kind);
    this.#role = "caller";
    if (frame.kind === "input") {
      const piece = pieceOf(frame);
      // Before anybody reads what a later attempt would not get.
      if (this.#live.input.isCutBy(piece)) await this.#noteCut();
      this.#input(piece);
    }
    if (isFirst) this.#bell.ring();
    if (frame.kind === "cancel") {
      await this.#parts.tasks.cancel(this.#live.task.id, frame, this.#opening.call);
      return;
    }
    const { input } = this.#live;
    if (input.isFull) await input.room(this.#untilOver());
  }

  /** Frames are use of the task's session; one a second is enough to tell. */
  #touch(): void {
    const now = performance.now();
    if (now - this.#touchedAt < 1_000) return;
    this.#touchedAt = now;
    this.#parts.touched(this.#live.task);
  }

  async #noteCut(): Promise<void> {
    await this.#parts.changes.move(this.#live.task, cutInput, systemChange("note the input of task"));
  }

  #input(piece: NewPiece): void {
    const { data, metadata, isLast } = piece;
    const { task, input } = this.#live;
    // Nothing to pass on: it only joins.
    if (data.byteLength === 0 && Object.keys(metadata).length === 0 && !isLast) return;
    if (isEnded(task)) throw inputAfterEnd(task.id, task.life.state);
    input.append(piece);
    for (const wake of this.#live.watchers) wake();
  }

  #untilOver(): AbortSignal {
    this.#over ??= new AbortController();
    return this.#over.signal;
  }

  /** Whether it says for whom it speaks, so that it need not be found out. */
  #isNamed(): boolean {
    const { token, attempt } = this.#opening.opener;
    return token !== undefined || attempt !== undefined;
  }

  /**
   * Whether it comes from the process of the agent that has the task, and nobody else is the worker: of one that nobody
   * has begun, when the agent was told of it; of one that was begun, when the agent says that it is at it.
   */
  #mayBeWorker(): boolean {
    const { task, worker } = this.#live;
    const { pid } = this.#opening.opener;
    if (this.#role !== "open" || worker !== undefined || pid === undefined || !isLeased(task)) return false;
    const { handing, pidOf, saysItIsAt } = this.#parts;
    const { agentId, state } = task.life;
    if (pidOf(agentId) !== pid) return false;
    return state === "pending" ? handing.isTold(task) : saysItIsAt(agentId, task.id);
  }

  #beWorker(): WorkerStreamEnd {
    this.#role = "worker";
    // Another stream may have been the worker's since this one was taken for it. What was the end of an attempt that is not
    // in force any more never becomes the next one's: it keeps its end, which says so.
    if (this.#worker?.isDisplaced === true && holds(this.#live.task, this.#worker.attempt)) {
      this.#worker.close(this.#opening.call.signal);
      this.#worker = undefined;
    }
    this.#worker ??= this.#newWorker();
    return this.#worker;
  }

  #newWorker(): WorkerStreamEnd {
    const worker = new WorkerStreamEnd(this.#live, this.#parts, this.#opening, this.#bell.ring);
    this.#letGo?.();
    this.#letGo = this.#parts.streamOpened(agentOf(this.#live.task));
    return worker;
  }
}

function pieceOf({ data, metadata, isLast }: Extract<TaskFrame, { readonly kind: "input" }>): NewPiece {
  return { stream: "stdin", attempt: 0, data, text: "", metadata, isLast };
}

function mixed(whose: string, kind: string): Failure {
  const field = kind === "error" ? "error_msg" : kind;
  return invalid("go on with the stream of a task", [
    { field, description: `can't come on this stream: its first frames have made it ${whose}` },
  ]);
}

function inputAfterEnd(id: TaskId, state: string): Failure {
  return new Failure("failed_precondition", `Cannot send input to task "${id}": it is ${state}`, {
    reason: "TASK_ENDED",
    metadata: { task_id: id, state },
  });
}

function tooManyStreams(id: TaskId, most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot open the stream of task "${id}": ${most} streams are open on it, which is the most`,
    { reason: "TOO_MANY_STREAMS", metadata: { task_id: id }, retryAfterMs: 1_000 },
  );
}
