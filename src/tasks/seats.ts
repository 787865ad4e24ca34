import type { Agent } from "../agents/agent.ts";
import { capabilityOf, suits, type Taker, type Waiting } from "./schedule.ts";
import { taskTypes } from "./task.ts";

/** An agent that is live, and how many of its seats are taken. */
export interface SeatedAgent extends Taker {
  readonly seats: number;
  /** Tasks that it has, and those that are about to be handed to it. */
  taken: number;
  readonly hasLine: boolean;
}

/** Who can take tasks now. Every task that an agent has sits in one of its seats, and an agent has no more seats than it said. */
export class Seats {
  readonly #agents = new Map<string, SeatedAgent>();
  /** Also of agents that are not live: their tasks are theirs until they are lost. */
  readonly #taken = new Map<string, number>();

  get(id: string): SeatedAgent | undefined {
    return this.#agents.get(id);
  }

  /** An agent is live, or has said something else of itself. */
  arrived(agent: Agent, hasLine: boolean): SeatedAgent {
    const { supportedTasks } = agent.capabilities;
    const seated: SeatedAgent = {
      id: agent.id,
      types: taskTypes.filter((type) => supportedTasks.includes(capabilityOf(type))),
      seats: Math.max(1, agent.capabilities.maxConcurrentTasks),
      taken: this.#taken.get(agent.id) ?? 0,
      hasLine,
    };
    this.#agents.set(agent.id, seated);
    return seated;
  }

  left(id: string): void {
    this.#agents.delete(id);
  }

  take(id: string): void {
    this.#move(id, 1);
  }

  free(id: string): void {
    this.#move(id, -1);
  }

  hasFree(id: string): boolean {
    const agent = this.#agents.get(id);
    return agent !== undefined && agent.taken < agent.seats;
  }

  /** How many of those that are there can do this. */
  able(type: Waiting["type"]): number {
    let count = 0;
    for (const agent of this.#agents.values()) if (agent.types.includes(type)) count += 1;
    return count;
  }

  /**
   * The agent that a task is best given to: one with a line first, then the one with the largest share of free seats; the
   * one to avoid only when there is no other.
   */
  bestFor(task: Pick<Waiting, "wantedAgent" | "type">, avoid = ""): SeatedAgent | undefined {
    if (task.wantedAgent !== "") {
      const agent = this.#agents.get(task.wantedAgent);
      return agent !== undefined && agent.taken < agent.seats ? agent : undefined;
    }
    let best: SeatedAgent | undefined;
    for (const agent of this.#agents.values()) {
      if (agent.taken >= agent.seats || !suits(task, agent)) continue;
      if (best === undefined || best.id === avoid || (agent.id !== avoid && isBetter(agent, best)))
        best = agent;
    }
    return best;
  }

  #move(id: string, by: number): void {
    const taken = (this.#taken.get(id) ?? 0) + by;
    if (taken === 0) this.#taken.delete(id);
    else this.#taken.set(id, taken);
    const agent = this.#agents.get(id);
    if (agent !== undefined) agent.taken = taken;
  }
}

function isBetter(one: SeatedAgent, other: SeatedAgent): boolean {
  if (one.hasLine !== other.hasLine) return one.hasLine;
  return one.taken / one.seats < other.taken / other.seats;
}
