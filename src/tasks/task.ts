import type { Instant } from "../events/event.ts";

export type TaskId = string & { readonly __brand: "TaskId" };

/** In the order of the wire's numbers, which is not that of any rank. */
export const taskTypes = [
  "code_execution",
  "file_operation",
  "network_request",
  "data_processing",
  "container_operation",
  "tool_execution",
  "custom",
] as const;
export type TaskType = (typeof taskTypes)[number];

/** The least urgent first. */
export const taskPriorities = ["low", "normal", "high", "critical"] as const;
export type TaskPriority = (typeof taskPriorities)[number];

export interface Task {
  readonly id: TaskId;
  /** Empty: none. */
  readonly sessionId: string;
  readonly name: string;
  readonly type: TaskType;
  readonly priority: TaskPriority;
  /** The agent that it was asked of; empty: any that can. */
  readonly wantedAgent: string;
  readonly config: TaskConfig;
  readonly createdAt: Instant;
  /** When it ends if it has not ended before, whether it runs or waits; `null`: never. */
  readonly deadlineAt: Instant | null;
  /** The number of its last lease, 0 before the first. It fences: what another lease's holder sends changes nothing. */
  readonly attempt: number;
  /** How many of its leases began: their workers opened its stream. These are what `maxRetries` bounds. */
  readonly begun: number;
  /** 0 to 1, as the worker of its last attempt said. */
  readonly progress: number;
  /** How much output all of its attempts have written, as of its last change of state. */
  readonly outputBytes: number;
  /** How many of the first bytes of it are kept; as of then, too. */
  readonly outputKeptBytes: number;
  /** Whether more input has come than is kept, so that another attempt would not get all of it. */
  readonly isInputCut: boolean;
  readonly life: TaskLife;
}

/** As the caller gave it, without its `input_data`. Times in nanoseconds; 0 means that the caller set none. */
export interface TaskConfig {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly timeoutNs: number;
  readonly deadlineNs: number;
  readonly maxRetries: number;
  readonly retryOnFailure: boolean;
  /** Whether it has any, in bytes; they are kept apart. */
  readonly inputDataBytes: number;
  readonly parameters: Readonly<Record<string, string>>;
  readonly constraints: TaskConstraints | null;
}

interface TaskConstraints {
  readonly maxMemoryBytes: number;
  readonly maxCpuNs: number;
  readonly maxExecutionTimeNs: number;
  readonly allowedOperations: readonly string[];
  readonly deniedOperations: readonly string[];
}

type TaskLife = Queued | Leased | Completed | Unfinished;

interface Queued {
  readonly state: "queued";
  /** Not handed out before this; `null`: at once. */
  readonly notBefore: Instant | null;
  /** Why it waits again; empty before its first attempt. */
  readonly reason: string;
}

/** Handed to an agent: not begun (`pending`), begun (`running`), or held by its worker (`paused`). */
export interface Leased {
  readonly state: "pending" | "running" | "paused";
  readonly agentId: string;
  /** When it was handed out. */
  readonly since: Instant;
  /** When it goes back to the queue if nobody has begun it. */
  readonly beginBy: Instant;
  /** When it began; `null` while it is pending. */
  readonly startedAt: Instant | null;
  /** When its time is over; `null`: never, or not begun. */
  readonly timeoutAt: Instant | null;
  /** Where its output begins in that of all attempts, in bytes. */
  readonly outputFrom: number;
  readonly cancel: Cancel | null;
}

/** Somebody wants it given up, and its worker has a while to do so. */
export interface Cancel {
  readonly reason: string;
  readonly by: string;
  /** When it is over whatever its worker does. */
  readonly endsAt: Instant;
}

interface Ended {
  readonly at: Instant;
  /** When its last attempt began; `null` when none did. */
  readonly startedAt: Instant | null;
  /** Who had it last; empty: nobody. */
  readonly agentId: string;
}

export interface Completed extends Ended {
  readonly state: "completed";
  readonly result: TaskResult;
}

export interface Unfinished extends Ended {
  readonly state: "failed" | "cancelled" | "timeout";
  readonly error: TaskError;
}

/** As the worker gave it; what it has of output is kept apart. */
export interface TaskResult {
  readonly exitCode: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly completedAt: Instant | null;
  readonly executionDurationNs: number;
}

export interface TaskError {
  readonly code: string;
  readonly message: string;
  readonly details: readonly string[];
  readonly stackTrace: string;
  readonly occurredAt: Instant;
}

export type TaskState = TaskLife["state"];

/** Those that are no end. */
export const openStates: readonly TaskState[] = ["queued", "pending", "running", "paused"];

export function isEnded(task: Task): task is Task & { readonly life: Completed | Unfinished } {
  return "at" in task.life;
}

export function isLeased(task: Task): task is Task & { readonly life: Leased } {
  return "beginBy" in task.life;
}

/** Whether the lease with this number is the one in force. */
export function holds(task: Task, attempt: number): task is Task & { readonly life: Leased } {
  return isLeased(task) && task.attempt === attempt;
}

/** The agent that has it, or had it last. */
export function agentOf(task: Task): string {
  return task.life.state === "queued" ? "" : task.life.agentId;
}
