import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import type { ResourceLimits } from "../sessions/session.ts";
import type { Table } from "../store/table.ts";

export type AgentId = string & { readonly __brand: "AgentId" };

export type AgentType = "orchestrator" | "gateway" | "worker" | "tool" | "monitor";

/** An agent that is or was registered. What changes with every sign of life is in presence.ts. */
export interface Agent {
  readonly id: AgentId;
  readonly name: string;
  readonly type: AgentType;
  readonly metadata: AgentMetadata;
  readonly capabilities: AgentCapabilities;
  readonly registeredAt: Instant;
  /** SHA-256 of its registration token, in hexadecimal. */
  readonly tokenHash: string;
  /** When it was last heard of, as of the last time that this row was written. */
  readonly heardAt: Instant;
  readonly life: AgentLife;
}

type AgentLife =
  | { readonly state: "live" }
  /** Silent for too long; it is live again when it is heard of. */
  | { readonly state: "lost"; readonly at: Instant; readonly reason: string }
  | {
      readonly state: "unregistered";
      readonly at: Instant;
      readonly reason: string;
      readonly by: string;
    };

/** What an agent says about itself. */
export interface AgentMetadata {
  readonly version: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ownerId: string;
  readonly tags: readonly string[];
  readonly hostname: string;
  readonly pid: string;
}

/** What an agent says that it can do. */
export interface AgentCapabilities {
  /** Names of task types, such as `code-execution`. */
  readonly supportedTasks: readonly string[];
  readonly supportedTools: readonly string[];
  /** 0 means 1. */
  readonly maxConcurrentTasks: number;
  readonly limits: ResourceLimits;
  readonly supportsStreaming: boolean;
  readonly supportsCancellation: boolean;
  readonly supportedProtocols: readonly string[];
}

export const agentTable: Table<Agent> = {
  name: "agents",
  bigints: "some",
  key: (agent) => agent.id,
  columns: {
    state: (agent) => agent.life.state,
    type: (agent) => agent.type,
    endedAt: (agent) => (agent.life.state === "live" ? null : agent.life.at),
  },
  labels: (agent) => agent.metadata.labels,
};

/** The counter of agents that are live. */
export const liveAgents = "live_agents";

/** The agent. Failures: NOT_FOUND when there is none. */
export function knownAgent(
  agent: Agent | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Agent {
  if (agent !== undefined) return agent;
  throw new Failure("not_found", `Cannot ${wanted.doing} "${wanted.id}": there is no agent with this id`, {
    reason: "AGENT_NOT_FOUND",
    metadata: { agent_id: wanted.id },
  });
}

/**
 * The agent, if it has not signed off.
 *
 * Failures: NOT_FOUND when there is none, or it is unregistered: for both the way on is to register.
 */
export function registeredAgent(
  agent: Agent | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Agent {
  const known = knownAgent(agent, wanted);
  if (known.life.state === "unregistered") throw unregistered(known, wanted.doing);
  return known;
}

/** What a call of an agent that has signed off is told. */
export function unregistered(agent: Agent, doing: string): Failure {
  const { life } = agent;
  const since = life.state === "unregistered" ? ` since ${new Date(life.at).toISOString()}` : "";
  return new Failure(
    "not_found",
    `Cannot ${doing} "${agent.id}": the agent is unregistered${since}; it has to register again`,
    { reason: "AGENT_UNREGISTERED", metadata: { agent_id: agent.id } },
  );
}
