import type { Background } from "../background.ts";
import { Failure } from "../failure.ts";
import { orAborted } from "../or-aborted.ts";

/** How long after the store could not be read it is asked again, in milliseconds. */
const againMs = 1_000;

export interface AbsentAgentsOptions {
  readonly background: Background;
  /** Whether an agent may be live again. */
  readonly mayCome: (agentId: string) => Promise<boolean>;
  /** Hears of one that does not come. */
  readonly onGone: (agentId: string) => void;
}

/**
 * Agents that are not live while tasks wait for them and nobody else. One that has signed off does not come back: an agent
 * that registers again is another one.
 */
export class AbsentAgents {
  readonly #options: AbsentAgentsOptions;
  /** Those that are looked for, and whether more tasks have come for them since. */
  readonly #looking = new Map<string, { isAsked: boolean }>();

  constructor(options: AbsentAgentsOptions) {
    this.#options = options;
  }

  /** A task waits for an agent that is not live. */
  note(agentId: string): void {
    const looking = this.#looking.get(agentId);
    if (looking !== undefined) {
      looking.isAsked = true;
      return;
    }
    const asked = { isAsked: true };
    this.#looking.set(agentId, asked);
    this.#options.background.start("look for the agent of a task", async (signal) => {
      try {
        while (asked.isAsked) {
          asked.isAsked = false;
          if ((await this.#look(agentId)) === "unknown") {
            asked.isAsked = true;
            await orAborted(Bun.sleep(againMs), signal);
          }
        }
      } finally {
        this.#looking.delete(agentId);
      }
    });
  }

  async #look(agentId: string): Promise<"known" | "unknown"> {
    try {
      if (!(await this.#options.mayCome(agentId))) this.#options.onGone(agentId);
      return "known";
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return "unknown";
    }
  }
}
