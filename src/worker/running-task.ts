import type { Task } from "../gen/proto/agent/v1/agent_pb.ts";

/** A task as whoever does it has it. */
export interface RunningTask {
  /** As the server has it: its id, its session, and in `config` what is to be done. */
  readonly task: Task;
  /**
   * Aborts when the task is not wanted any more: it was cancelled, its time is over, or it is somebody else's. Its reason
   * is a `TaskEnded`. Whatever `run` gives after that changes nothing.
   */
  readonly signal: AbortSignal;
  /** What its callers send, in order, until they have no more to send. Read once. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Sends output; done when it is on its way, so that a slow server slows whoever waits for it. At most 1 MiB a frame. */
  write(data: Uint8Array | string, stream?: OutputStream): Promise<void>;
  /** Says how far it is: `done` from 0 to 1. */
  progress(done: number, message?: string): Promise<void>;
}

/** `stdout`, `stderr` or another word that callers know. */
type OutputStream = "stdout" | "stderr" | (string & {});

/** What came out of a task that was done. What is not done throws. */
export interface TaskOutcome {
  /** 0 by default. */
  readonly exitCode?: number;
  readonly data?: Uint8Array;
  readonly text?: string;
  readonly errorText?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Does a task. A `Failure` that it throws is the task's error, with its reason as code; anything else a defect. */
export type RunTask = (running: RunningTask) => Promise<TaskOutcome | undefined>;

/** Why a task's signal has aborted. */
export class TaskEnded extends Error {
  override readonly name = "TaskEnded";
  readonly #hurried = new AbortController();
  #how: TaskEnd;

  constructor(how: TaskEnd, message: string) {
    super(message);
    this.#how = how;
    if (how === "forced") this.#hurried.abort();
  }

  get how(): TaskEnd {
    return this.#how;
  }

  /** Aborts when it has to end at once, without time to put things away. */
  get hurried(): AbortSignal {
    return this.#hurried.signal;
  }

  /** Somebody does not want to wait for it any more. */
  hurry(): void {
    if (this.#how === "cancelled") this.#how = "forced";
    this.#hurried.abort();
  }

  /** What has aborted `signal`, if this has. */
  static of(signal: AbortSignal): TaskEnded | undefined {
    const reason: unknown = signal.reason;
    return reason instanceof TaskEnded ? reason : undefined;
  }
}

/**
 * `cancelled`: somebody has asked for it; `forced`: and does not want to wait. `timed_out`: its time is over. `lost`: the
 * task is not this worker's any more. `left`: the worker stops, and has given the task back.
 */
export type TaskEnd = "cancelled" | "forced" | "timed_out" | "lost" | "left";
