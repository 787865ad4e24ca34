import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Agent, AgentCapabilities, AgentMetadata, AgentType } from "../agents/agent.ts";
import type { Report } from "../agents/agent-limits.ts";
import type { AgentFilter } from "../agents/agent-listing.ts";
import type { AgentView } from "../agents/presence.ts";
import type { Usage } from "../containers/usage.ts";
import { invalid } from "../failure.ts";
import {
  type AgentCapabilitiesSchema,
  type AgentSchema,
  AgentStateSchema,
  AgentTypeSchema,
  type HeartbeatRequest,
  type ListAgentsRequest,
  type AgentCapabilities as WireCapabilities,
  type AgentMetadata as WireMetadata,
  AgentState as WireState,
  AgentType as WireType,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { type ResourceUsage, Status } from "../gen/proto/common/v1/common_pb.ts";
import { limitsOf } from "./wire-session.ts";
import { toWireUsage } from "./wire-usage.ts";
import { count32, knownEnum, timestamp } from "./wire-values.ts";

const wireTypes: Readonly<Record<AgentType, WireType>> = {
  orchestrator: WireType.ORCHESTRATOR,
  gateway: WireType.GATEWAY,
  worker: WireType.WORKER,
  tool: WireType.TOOL,
  monitor: WireType.MONITOR,
};

const wireStatuses: Readonly<Record<Agent["life"]["state"], Status>> = {
  live: Status.RUNNING,
  // Nobody knows how it is.
  lost: Status.UNKNOWN,
  unregistered: Status.TERMINATED,
};

/** An agent as the wire has it. */
export function toWireAgent({
  agent,
  heardAt,
  report,
  line,
}: AgentView): MessageInitShape<typeof AgentSchema> {
  const { life } = agent;
  const { usage, activeTasks, takesTasks } = report;
  return {
    id: agent.id,
    name: agent.name,
    type: wireTypes[agent.type],
    state:
      life.state !== "live" ? WireState.TERMINATED : activeTasks.length > 0 ? WireState.BUSY : WireState.IDLE,
    status: wireStatuses[life.state],
    registeredAt: timestamp(agent.registeredAt),
    lastHeartbeat: timestamp(heardAt),
    metadata: { ...agent.metadata, tags: [...agent.metadata.tags] },
    capabilities: toWireCapabilities(agent.capabilities),
    ...(usage === undefined ? {} : { resources: toWireUsage(usage) }),
    activeTasks: [...activeTasks],
    lineOpen: line === "open",
    takesNoTasks: !takesTasks,
    ...(life.state === "live" ? {} : { endedAt: timestamp(life.at), stateReason: reasonOf(life) }),
  };
}

/** What an agent, or all of them together, can do. */
export function toWireCapabilities(
  capabilities: AgentCapabilities,
): MessageInitShape<typeof AgentCapabilitiesSchema> {
  const { limits, supportedTasks, supportedTools, supportedProtocols, ...rest } = capabilities;
  return {
    ...rest,
    maxConcurrentTasks: count32(rest.maxConcurrentTasks),
    supportedTasks: [...supportedTasks],
    supportedTools: [...supportedTools],
    supportedProtocols: [...supportedProtocols],
    resourceLimits: limits,
  };
}

/** The type that an agent registers as. Failures: INVALID_ARGUMENT when it is missing or unknown. */
export function agentTypeOf(wire: WireType): AgentType {
  knownEnum(AgentTypeSchema, wire, "type");
  const type = typeNamed(wire);
  if (type !== undefined) return type;
  const names = AgentTypeSchema.values.filter(({ number }) => number !== 0).map(({ name }) => name);
  const description = `is missing; one of ${names.join(", ")} is allowed`;
  throw invalid("register an agent", [{ field: "type", description }]);
}

export function agentMetadataOf(wire: WireMetadata | undefined): AgentMetadata {
  const { version = "", description = "", labels = {}, ownerId = "", tags = [] } = wire ?? {};
  const { hostname = "", pid = "" } = wire ?? {};
  return { version, description, labels, ownerId, tags, hostname, pid };
}

export function capabilitiesOf(wire: WireCapabilities | undefined): AgentCapabilities {
  const { supportedTasks = [], supportedTools = [], supportedProtocols = [] } = wire ?? {};
  const { maxConcurrentTasks = 0, supportsStreaming = false, supportsCancellation = false } = wire ?? {};
  return {
    supportedTasks,
    supportedTools,
    maxConcurrentTasks,
    limits: limitsOf(wire?.resourceLimits),
    supportsStreaming,
    supportsCancellation,
    supportedProtocols,
  };
}

/** What a heartbeat says, at `at`. */
export function reportOf(wire: HeartbeatRequest, at: number): Report {
  return {
    usage: wire.resources === undefined ? undefined : usageOf(wire.resources, at),
    activeTasks: [...new Set(wire.activeTasks)],
    takesTasks: !wire.takesNoTasks,
  };
}

/** Failures: INVALID_ARGUMENT for unknown enum values, and for states that no agent is ever listed in. */
export function agentFilterOf(wire: ListAgentsRequest): AgentFilter {
  knownEnum(AgentTypeSchema, wire.type, "type");
  knownEnum(AgentStateSchema, wire.state, "state");
  const type = typeNamed(wire.type);
  const state = states.get(wire.state);
  if (state === undefined && wire.state !== WireState.UNSPECIFIED) {
    const description = `is ${AgentStateSchema.value[wire.state]?.name}; AGENT_STATE_IDLE, _BUSY or _TERMINATED is allowed`;
    throw invalid("list agents", [{ field: "state", description }]);
  }
  return {
    ...(type === undefined ? {} : { type }),
    ...(state === undefined ? {} : { state }),
    labels: wire.labels,
  };
}

const states: ReadonlyMap<WireState, NonNullable<AgentFilter["state"]>> = new Map([
  [WireState.IDLE, "idle"],
  [WireState.BUSY, "busy"],
  [WireState.TERMINATED, "ended"],
]);

function typeNamed(wire: WireType): AgentType | undefined {
  return (["orchestrator", "gateway", "worker", "tool", "monitor"] as const).find(
    (type) => wireTypes[type] === wire,
  );
}

function reasonOf(life: Exclude<Agent["life"], { readonly state: "live" }>): string {
  return life.state === "lost" ? `lost: ${life.reason}` : life.reason;
}

function usageOf(wire: ResourceUsage, at: number): Usage {
  return {
    at,
    cpuPercent: wire.cpuPercent,
    memoryBytes: Number(wire.memoryUsage),
    memoryLimitBytes: Number(wire.memoryLimit),
    memoryPercent: wire.memoryPercent,
    networkRxBytes: Number(wire.networkRx),
    networkTxBytes: Number(wire.networkTx),
    blockReadBytes: Number(wire.blockRead),
    blockWriteBytes: Number(wire.blockWrite),
    pids: Number(wire.pidsCount),
    pidsLimit: 0, // agents don't say
  };
}
