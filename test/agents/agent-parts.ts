import type { Agent, AgentType } from "../../src/agents/agent.ts";
import type { Registration } from "../../src/agents/agent-limits.ts";
import { type AgentChange, Agents } from "../../src/agents/agents.ts";
import type { Call } from "../../src/call.ts";
import type { LogEvent } from "../../src/events/event.ts";
import { type MemoryDisk, MemoryStore, memoryDisk } from "../store/memory-store.ts";

export const graceMs = 90_000;
/** How often silence is looked for. Milliseconds. */
export const everyMs = 1_000;

/** Agents over a store of their own, under clocks that the test moves. */
export interface AgentParts {
  readonly store: MemoryStore;
  readonly agents: Agents;
  /** What `onChange` has told. */
  readonly changes: AgentChange[];
  readonly clock: () => number;
  /** Lets time pass, with a look for silence every second, as the server has it. */
  pass(ms: number): Promise<void>;
  /** Lets time pass in which the server does nothing at all; then it looks. */
  standStill(ms: number): Promise<void>;
  /** Moves the wall clock alone. */
  setClock(byMs: number): void;
  /** Ends the server, and starts another one on what it has written. */
  restart(): Promise<void>;
  register(more?: Partial<Registration> & { readonly type?: AgentType }): Promise<Agent>;
  events(): Promise<readonly LogEvent[]>;
}

export async function agentParts({ maxAgents = 1_000 } = {}): Promise<AgentParts> {
  const disk: MemoryDisk = memoryDisk();
  let wall = 1_000_000_000;
  let monotonic = 0;
  const never = new AbortController().signal;
  const clock = () => wall;
  const move = (ms: number) => {
    wall += ms;
    monotonic += ms;
  };
  const open = async () => {
    const store = new MemoryStore(disk);
    const agents = new Agents({
      store,
      clock,
      monotonic: () => monotonic,
      graceMs,
      limits: {
        maxAgents,
        maxRegistrationLength: 10_000,
        labels: { maxLabels: 3, maxLabelKeyLength: 8, maxLabelValueLength: 10 },
      },
    });
    await agents.takeUp();
    agents.onChange((change) => parts.changes.push(change));
    return { store, agents };
  };
  const parts: AgentParts = {
    ...(await open()),
    changes: [],
    clock,
    pass: async (ms) => {
      for (let left = ms; left > 0; left -= everyMs) {
        move(Math.min(left, everyMs));
        await parts.agents.loseSilent(everyMs, never);
      }
    },
    standStill: async (ms) => {
      move(ms);
      await parts.agents.loseSilent(everyMs, never);
    },
    setClock: (byMs) => {
      wall += byMs;
    },
    restart: async () => {
      await parts.store[Symbol.asyncDispose]();
      monotonic = 0;
      Object.assign(parts, await open());
    },
    register: async (more = {}) => {
      const wanted = { name: "worker", type: "worker" as const, metadata: metadata(), capabilities, ...more };
      return (await parts.agents.register(wanted, call())).agent.agent;
    },
    events: async () => (await parts.store.events.read({ after: 0, filter: {}, limit: 100_000 })).events,
  };
  return parts;
}

export function call(): Call {
  return { actor: "uid:7", correlationId: "corr", signal: new AbortController().signal };
}

export function metadata(more: Partial<Registration["metadata"]> = {}): Registration["metadata"] {
  return { version: "", description: "", labels: {}, ownerId: "", tags: [], hostname: "", pid: "", ...more };
}

const capabilities: Registration["capabilities"] = {
  supportedTasks: [],
  supportedTools: [],
  maxConcurrentTasks: 0,
  limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
  supportsStreaming: false,
  supportsCancellation: false,
  supportedProtocols: [],
};
