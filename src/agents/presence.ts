import type { Instant } from "../events/event.ts";
import { HeldUp } from "../held-up.ts";
import type { Agent, AgentId } from "./agent.ts";
import type { Report } from "./agent-limits.ts";

/** An agent with what is known of it at the moment. */
export interface AgentView {
  readonly agent: Agent;
  readonly heardAt: Instant;
  /** As of its last heartbeat. */
  readonly report: Report;
  readonly line: "open" | "none";
}

/** An agent that beats or holds a line. */
export type LiveAgent = AgentView;

/** A live agent as it is kept in memory. */
export interface Present {
  agent: Agent;
  heardAt: Instant;
  /** The same by a clock that is never set. Milliseconds. */
  heardMs: number;
  report: Report;
  line: "open" | "none";
  /** How many other streams it holds. */
  streams: number;
  /** Whether a change is under way that may end it: who is heard of then has to wait for how it ends. */
  isLeaving: boolean;
}

export const nothingReported: Report = { usage: undefined, activeTasks: [], takesTasks: true };

/** Who is live, and when each was last heard of. In memory: a server that starts gives all of them their grace anew. */
export class Presence {
  readonly #present = new Map<AgentId, Present>();
  readonly #clocks: { readonly clock: () => Instant; readonly monotonic: () => number };
  readonly #heldUp = new HeldUp();

  constructor(clocks: { readonly clock: () => Instant; readonly monotonic: () => number }) {
    this.#clocks = clocks;
  }

  /** The tasks that an agent was given; none until somebody hands out tasks. */
  tasksOf: (id: AgentId) => readonly string[] = () => [];

  get size(): number {
    return this.#present.size;
  }

  /** An agent as others see it: at the tasks that it was given, and at what it says itself. */
  viewOf({ agent, heardAt, report, line }: Present): LiveAgent {
    const given = this.tasksOf(agent.id);
    if (given.length === 0) return { agent, heardAt, report, line };
    const activeTasks = [...new Set([...given, ...report.activeTasks])];
    return { agent, heardAt, report: { ...report, activeTasks }, line };
  }

  get(id: AgentId): Present | undefined {
    return this.#present.get(id);
  }

  all(): readonly Present[] {
    return [...this.#present.values()];
  }

  /** Puts an agent among those that are live, heard of now; `heardAt` says when it was really heard of. */
  add(agent: Agent, heardAt = this.#clocks.clock()): Present {
    const heardMs = this.#clocks.monotonic();
    const before = this.#present.get(agent.id);
    const { report = nothingReported, line = "none", streams = 0 } = before ?? {};
    const present: Present = { agent, heardAt, heardMs, report, line, streams, isLeaving: false };
    if (before !== undefined) return Object.assign(before, present);
    this.#present.set(agent.id, present);
    return present;
  }

  remove(id: AgentId): void {
    this.#present.delete(id);
  }

  heard(present: Present): void {
    present.heardAt = this.#clocks.clock();
    present.heardMs = this.#clocks.monotonic();
  }

  /** How long nothing was heard of an agent, in milliseconds; 0 while it holds a line or another stream. */
  silenceOf(present: Present): number {
    return present.line === "open" || present.streams > 0 ? 0 : this.#clocks.monotonic() - present.heardMs;
  }

  /**
   * Those that were silent for `graceMs`. Asked every `everyMs`: when it was not for longer, the server itself was held
   * up, and could not have heard anybody in that time.
   */
  silent(graceMs: number, everyMs: number): readonly Present[] {
    const now = this.#clocks.monotonic();
    const heldUpMs = this.#heldUp.look(now, everyMs);
    if (heldUpMs > 0) {
      for (const present of this.#present.values())
        present.heardMs = Math.min(now, present.heardMs + heldUpMs);
    }
    return this.all().filter((present) => !present.isLeaving && this.silenceOf(present) >= graceMs);
  }
}
