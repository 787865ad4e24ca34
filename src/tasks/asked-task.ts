import type { TaskConfig, TaskPriority, TaskType } from "./task.ts";

/** What a caller asks for. */
export interface AskedTask {
  readonly name: string;
  readonly sessionId: string;
  /** The agent that shall do it; empty: any that can. */
  readonly wantedAgent: string;
  readonly type: TaskType;
  readonly priority: TaskPriority;
  readonly config: TaskConfig;
  readonly inputData: Uint8Array;
  readonly idempotencyKey: string;
}
