import type { AgentId } from "../agents/agent.ts";
import type { AgentChange, Agents } from "../agents/agents.ts";
import type { Background } from "../background.ts";
import type { HandingOut } from "./handing-out.ts";
import type { Silences } from "./silences.ts";
import type { Task } from "./task.ts";
import { systemChange, type TaskChanges } from "./task-changes.ts";
import { beginTask, type TaskPolicy } from "./task-rules.ts";

/** What tasks hear of agents, and agents of tasks. */
export interface TaskAgents {
  /**
   * The tasks that an agent has been given and has not begun. It has shown that it is there, and is told of them by this.
   * One that takes no more tasks gives those back that it does not say that it is at.
   */
  pendingFor(agentId: string): readonly string[];
  /** The tasks that an agent has. */
  heldBy(agentId: string): readonly string[];
  /** A task, if an agent has it. */
  held(agentId: string, taskId: string): Task | undefined;
  /** A process has spoken as an agent. */
  heardFrom(agentId: string, pid: number | undefined): void;
  /** The process that last spoke as an agent. */
  pidOf(agentId: string): number | undefined;
  /** An agent says that it is at these tasks. */
  isAt(agentId: string, taskIds: readonly string[]): void;
  /** Whether it has said so when it last spoke of its tasks. */
  saysItIsAt(agentId: string, taskId: string): boolean;
}

/** Ties the tasks to what becomes of agents. */
export function taskAgents(parts: {
  readonly agents: Agents;
  readonly handing: HandingOut;
  readonly silences: Silences;
  readonly changes: TaskChanges;
  readonly policy: TaskPolicy;
  readonly background: Background;
}): TaskAgents {
  const { agents, handing, silences, changes, policy, background } = parts;
  const pids = new Map<string, number>();
  for (const { agent } of agents.live()) handing.expected(agent);
  agents.onChange((change) => follow(change));

  function follow({ kind, agent }: AgentChange): void {
    switch (kind) {
      case "live":
        handing.arrived(agent);
        return;
      case "line_opened":
        handing.lineOpened(agent);
        return;
      case "line_closed":
        handing.lineClosed(agent.id);
        return;
      case "takes_tasks":
        handing.seen(agent.id);
        return;
      case "takes_no_tasks":
        handing.closed(agent.id);
        return;
      case "lost":
      case "unregistered": {
        pids.delete(agent.id);
        handing.gone(
          agent.id,
          kind === "lost" ? `agent ${agent.id} fell silent` : `agent ${agent.id} signed off`,
        );
        if (kind === "unregistered") handing.failWaitingFor(agent.id);
      }
    }
  }

  return {
    pendingFor(agentId) {
      handing.seen(agentId);
      const pending = handing.pendingOf(agentId);
      const id = agentId as AgentId; // what is no agent's id has none pending
      if (!agents.takesTasks(id)) {
        for (const task of pending) if (!agents.saysItIsAt(id, task.id)) handing.giveBack(task);
        return [];
      }
      return pending.map((task) => {
        handing.told(task);
        return task.id;
      });
    },
    held: (agentId, taskId) => handing.held(agentId, taskId),
    heldBy: (agentId) => handing.heldBy(agentId).map(({ id }) => id),
    heardFrom(agentId, pid) {
      if (pid !== undefined && agents.isLive(agentId as AgentId)) pids.set(agentId, pid); // what is no agent's id is not live
    },
    pidOf: (agentId) => pids.get(agentId),
    isAt(agentId, taskIds) {
      const said = new Set(taskIds);
      for (const task of handing.heldBy(agentId)) {
        if (!said.has(task.id)) continue;
        if (task.life.state !== "pending") {
          silences.claimed(task.id);
          continue;
        }
        const { attempt } = task;
        background.start("begin a task that its agent is at", async () => {
          await changes.move(
            task,
            (now, at) => beginTask(now, { attempt, at, policy }),
            systemChange("begin task"),
          );
        });
      }
    },
    saysItIsAt: (agentId, taskId) => agents.saysItIsAt(agentId as AgentId, taskId), // what is none is not live
  };
}
