import type { AgentMessage } from "../agents/agent-message.ts";
import { Failure } from "../failure.ts";
import type { Leased, Task, TaskId } from "./task.ts";
import { cancelMessage, taskRequest } from "./task-messages.ts";

type LeasedTask = Task & { readonly life: Leased };

/** How much an agent may be left to be told before it is not told that tasks are to be given up. */
const mostUntold = 10_000;

/** What agents hear of their tasks over their lines: each thing once, and later what does not go at once. */
export class Telling {
  readonly #put: (agentId: string, message: AgentMessage) => void;
  /** Agents that have a line open. */
  readonly #lines = new Set<string>();
  /** Attempts whose agents have been told of them. */
  readonly #told = new Map<TaskId, number>();
  /** What agents are yet to be told because their lines were full, in its order. */
  readonly #untold = new Map<string, Map<TaskId, "request" | AgentMessage>>();

  /** @param put puts a message on an agent's line. Failures: it has none, or it is full. */
  constructor(put: (agentId: string, message: AgentMessage) => void) {
    this.#put = put;
  }

  hasLine(agentId: string): boolean {
    return this.#lines.has(agentId);
  }

  /** An agent has a line, and nothing has gone over it yet. */
  lineOpened(agentId: string): void {
    this.#lines.add(agentId);
    this.#untold.delete(agentId);
  }

  lineClosed(agentId: string): void {
    this.#lines.delete(agentId);
    this.#untold.delete(agentId);
  }

  /** The agent that has a task has been told of it. */
  told(task: LeasedTask): void {
    this.#told.set(task.id, task.attempt);
    this.#untold.get(task.life.agentId)?.delete(task.id);
  }

  /** Whether the agent that has a task may know of it. */
  isTold({ id, attempt }: Task): boolean {
    return this.#told.get(id) === attempt;
  }

  /** It is the agent's no more. */
  forget({ id, life }: LeasedTask): void {
    this.#told.delete(id);
    if (this.#untold.get(life.agentId)?.get(id) === "request") this.#untold.get(life.agentId)?.delete(id);
  }

  /** Tells an agent of a task that is its. */
  announce(task: LeasedTask): void {
    const { agentId } = task.life;
    if (!this.#lines.has(agentId)) return;
    const isFull = this.#untold.has(agentId) || this.#deliver(agentId, taskRequest(task)) === "full";
    if (isFull) this.#tellLater(agentId, task.id, "request");
    else this.told(task);
  }

  /** Tells an agent that a task is to be given up, if it was told of the task. */
  cancel(task: LeasedTask, cancel: { readonly reason: string; readonly isForced: boolean }): void {
    const { agentId } = task.life;
    if (!this.#lines.has(agentId) || this.#untold.get(agentId)?.get(task.id) === "request") return;
    const message = cancelMessage(task, cancel);
    if (this.#deliver(agentId, message) !== "full") return;
    // Whoever reads no more of its line hears of it on the task's stream.
    if ((this.#untold.get(agentId)?.size ?? 0) < mostUntold) this.#tellLater(agentId, task.id, message);
  }

  /** There may be room on an agent's line: it is told what it was not told yet of the tasks that it has. */
  hasRoom(agentId: string, held: (id: TaskId) => LeasedTask | undefined): void {
    const untold = this.#untold.get(agentId);
    if (untold === undefined) return;
    for (const [id, what] of untold) {
      const task = held(id);
      const message = what !== "request" ? what : task && taskRequest(task);
      if (message !== undefined && this.#deliver(agentId, message) === "full") return;
      untold.delete(id);
      if (what === "request" && task !== undefined) this.told(task);
    }
    this.#untold.delete(agentId);
  }

  #tellLater(agentId: string, id: TaskId, what: "request" | AgentMessage): void {
    const untold = this.#untold.get(agentId) ?? new Map<TaskId, "request" | AgentMessage>();
    this.#untold.set(agentId, untold.set(id, what));
  }

  #deliver(agentId: string, message: AgentMessage): "delivered" | "full" | "refused" {
    try {
      this.#put(agentId, message);
      return "delivered";
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // One that has just gone is told of its tasks by its next line, or with its next beat.
      return error.kind === "resource_exhausted" ? "full" : "refused";
    }
  }
}
