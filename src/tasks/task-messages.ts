import { type AgentMessage, orchestrator } from "../agents/agent-message.ts";
import type { Leased, Task } from "./task.ts";

/** The header of a message about a task that says which attempt it is about. */
const attemptHeader = "attempt";

/** Tells an agent of a task that is its. */
export function taskRequest(task: Task & { readonly life: Leased }): AgentMessage {
  return {
    ...about(task),
    type: "task_request",
    payload: {
      kind: "task",
      taskId: task.id,
      sessionId: task.sessionId,
      state: "pending",
      progress: 0,
      statusMessage: task.name,
      output: new Uint8Array(0),
    },
  };
}

/** Tells an agent to give a task up: as soon as it can, or that it is over already. */
export function cancelMessage(
  task: Task & { readonly life: Leased },
  cancel: { readonly reason: string; readonly isForced: boolean },
): AgentMessage {
  return {
    ...about(task),
    type: "control",
    payload: {
      kind: "control",
      command: "cancel",
      parameters: {
        task_id: task.id,
        attempt: String(task.attempt),
        reason: cancel.reason.slice(0, 1_024),
        force: String(cancel.isForced),
      },
    },
  };
}

function about(task: Task & { readonly life: Leased }): Omit<AgentMessage, "type" | "payload"> {
  return {
    id: Bun.randomUUIDv7(),
    at: task.life.since,
    sourceId: orchestrator,
    targetId: task.life.agentId,
    metadata: {
      correlationId: task.id,
      sessionId: task.sessionId,
      headers: { [attemptHeader]: String(task.attempt) },
      priority: 0,
    },
  };
}
