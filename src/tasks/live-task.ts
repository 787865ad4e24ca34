import type { Instant } from "../events/event.ts";
import type { Recording } from "./recording.ts";
import type { Task, TaskState } from "./task.ts";
import type { TaskData } from "./task-rows.ts";

/** What a worker last said of how far it is. */
export interface Progress {
  readonly progress: number;
  readonly message: string;
  readonly details: Readonly<Record<string, string>>;
}

/** The state that a task has come to, in words for those who watch it. */
export interface Status {
  readonly state: TaskState;
  readonly message: string;
  readonly at: Instant;
}

/** The stream by which a worker reports on an attempt. */
export interface WorkerEnd {
  readonly attempt: number;
  /** Of the process at its other end, where that is known. */
  readonly pid: number | undefined;
  /** Another stream of the worker has taken its place. */
  displace(): void;
}

/** A task that somebody is at, or reads: what of it is in memory. */
export interface LiveTask {
  /** As it was last committed. */
  task: Task;
  readonly output: Recording;
  readonly input: Recording;
  /** Wakes each stream that is open on it. */
  readonly watchers: Set<() => void>;
  /** Counts what is new for those who watch: `status` and `progress` are the last of their kind. */
  statusCount: number;
  status: Status;
  progressCount: number;
  progress: Progress;
  worker: WorkerEnd | undefined;
  /** What an attempt has said that came out, before anybody could read it; `data` is undefined when that was nothing. */
  result: { readonly attempt: number; readonly data: TaskData | undefined } | undefined;
}

export function wakeAll(live: LiveTask): void {
  for (const wake of live.watchers) wake();
}
