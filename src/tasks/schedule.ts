import type { Instant } from "../events/event.ts";
import { type TaskId, type TaskPriority, type TaskType, taskPriorities } from "./task.ts";

// Which waiting task an agent gets next. No clock and no store: times come in as arguments.
//
// The more urgent comes first. Within one priority sessions take turns, and within a session the oldest is first. So that
// nothing starves, a session whose turn at a priority has not come for `ageingMs` rises by one priority, and by one more
// after that time again, up to the highest.

/** A task that waits, as far as its order is concerned. */
export interface Waiting {
  readonly id: TaskId;
  readonly sessionId: string;
  readonly type: TaskType;
  readonly priority: TaskPriority;
  /** The agent that it was asked of; empty: any that can. */
  readonly wantedAgent: string;
}

/** What an agent can take. */
export interface Taker {
  readonly id: string;
  readonly types: readonly TaskType[];
}

/** The name by which agents say that they can do a type of task: `code-execution`. */
export function capabilityOf(type: TaskType): string {
  return type.replaceAll("_", "-");
}

/** Whether a taker may be given a task: it was asked of it by name, or it can do what anybody may do who can. */
export function suits(task: Pick<Waiting, "wantedAgent" | "type">, taker: Taker): boolean {
  return task.wantedAgent === "" ? taker.types.includes(task.type) : task.wantedAgent === taker.id;
}

/** The tasks of one session that wait in one lane at one priority. */
interface Flow {
  readonly sessionId: string;
  /** Those that were handed out before and have come back; they go first. */
  readonly returned: Map<TaskId, Waiting>;
  readonly fresh: Map<TaskId, Waiting>;
  /** Since when it waits for its turn: since it has come, or since its last turn. */
  since: Instant;
  /** Its place in the order of turns over all flows. */
  turn: number;
}

/** The flows of one priority in one lane, by session, in the order of their turns. */
type Flows = Map<string, Flow>;
type Lane = Readonly<Record<TaskPriority, Flows>>;

/** The tasks that wait, in an order that costs the same however many there are. */
export class Schedule {
  readonly #ageingMs: number;
  /** By the agent's id or the task's type, see laneOf(). */
  readonly #lanes = new Map<string, Lane>();
  readonly #waiting = new Map<TaskId, Waiting>();
  #turns = 0;

  /** @param ageingMs how long a session waits for its turn until it rises by one priority */
  constructor(ageingMs: number) {
    this.#ageingMs = ageingMs;
  }

  get size(): number {
    return this.#waiting.size;
  }

  has(id: TaskId): boolean {
    return this.#waiting.has(id);
  }

  /** Lets a task wait: behind those of its session, or before them when it has waited before. */
  add(task: Waiting, come: { readonly at: Instant; readonly as: "fresh" | "returned" }): void {
    if (this.#waiting.has(task.id)) return;
    this.#waiting.set(task.id, task);
    const flows = this.#laneFor(task)[task.priority];
    let flow = flows.get(task.sessionId);
    if (flow === undefined) {
      this.#turns += 1;
      const { sessionId } = task;
      flow = { sessionId, returned: new Map(), fresh: new Map(), since: come.at, turn: this.#turns };
      flows.set(sessionId, flow);
    }
    flow[come.as].set(task.id, task);
  }

  /** Takes a task out that waits no more. */
  remove(id: TaskId): void {
    const task = this.#waiting.get(id);
    if (task === undefined) return;
    this.#waiting.delete(id);
    const key = laneOf(task);
    const lane = this.#lanes.get(key);
    const flow = lane?.[task.priority].get(task.sessionId);
    if (lane === undefined || flow === undefined) return;
    flow.returned.delete(id);
    flow.fresh.delete(id);
    if (flow.returned.size + flow.fresh.size > 0) return;
    lane[task.priority].delete(task.sessionId);
    if (taskPriorities.every((priority) => lane[priority].size === 0)) this.#lanes.delete(key);
  }

  /** Whether anything waits that this taker could be given. */
  hasFor(taker: Taker): boolean {
    return lanesOf(taker).some((key) => this.#lanes.has(key));
  }

  /** The task that this taker is to be given now; it waits no more. */
  take(taker: Taker, now: Instant): Waiting | undefined {
    let best: { readonly flow: Flow; readonly flows: Flows; readonly level: number } | undefined;
    for (const key of lanesOf(taker)) {
      const lane = this.#lanes.get(key);
      if (lane === undefined) continue;
      for (const [rank, priority] of taskPriorities.entries()) {
        const flows = lane[priority];
        const flow = flows.values().next().value; // the one whose turn is next, and so has waited for it the longest
        if (flow === undefined) continue;
        const level = this.#levelOf(rank, flow, now);
        if (best === undefined || level > best.level || (level === best.level && flow.turn < best.flow.turn))
          best = { flow, flows, level };
      }
    }
    if (best === undefined) return undefined;
    const { flow, flows } = best;
    const task = (flow.returned.size > 0 ? flow.returned : flow.fresh).values().next().value;
    if (task === undefined) throw new Error("a flow without a task is never kept");
    this.#turns += 1;
    flow.turn = this.#turns;
    flow.since = now;
    // The Map's order is the order of turns.
    flows.delete(flow.sessionId);
    flows.set(flow.sessionId, flow);
    this.remove(task.id);
    return task;
  }

  /** The tasks that wait for this agent and no other. */
  askedOf(agentId: string): readonly Waiting[] {
    const lane = this.#lanes.get(`agent ${agentId}`);
    if (lane === undefined) return [];
    const flows = taskPriorities.flatMap((priority) => [...lane[priority].values()]);
    return flows.flatMap(({ returned, fresh }) => [...returned.values(), ...fresh.values()]);
  }

  #levelOf(rank: number, flow: Flow, now: Instant): number {
    const risen = Math.floor(Math.max(0, now - flow.since) / this.#ageingMs);
    return Math.min(taskPriorities.length - 1, rank + risen);
  }

  #laneFor(task: Waiting): Lane {
    const key = laneOf(task);
    const lane = this.#lanes.get(key) ?? {
      low: new Map(),
      normal: new Map(),
      high: new Map(),
      critical: new Map(),
    };
    this.#lanes.set(key, lane);
    return lane;
  }
}

function laneOf({ wantedAgent, type }: Waiting): string {
  return wantedAgent === "" ? `type ${type}` : `agent ${wantedAgent}`;
}

function lanesOf({ id, types }: Taker): readonly string[] {
  return [`agent ${id}`, ...types.map((type) => `type ${type}`)];
}
