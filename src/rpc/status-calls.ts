import type { Usage } from "../containers/usage.ts";
import type { Instant } from "../events/event.ts";
import { type AgentService, AgentState } from "../gen/proto/agent/v1/agent_pb.ts";
import { Health, Status } from "../gen/proto/common/v1/common_pb.ts";
import type { GatewayService } from "../gen/proto/gateway/v1/gateway_pb.ts";
import type { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Handlers } from "./handlers.ts";
import { toWireUsage } from "./wire-usage.ts";
import { count32, timestamp } from "./wire-values.ts";

/** A part of the server and how it is. */
interface Subsystem {
  readonly name: string;
  /** Why it can't do its work; empty when it can. */
  readonly problem: string;
}

/** What the three services tell of the server. */
export interface ServerFacts {
  readonly version: string;
  readonly startedAt: Instant;
  readonly clock: () => Instant;
  readonly subsystems: () => readonly Subsystem[];
  readonly countSessions: () => Promise<number>;
  readonly countContainers: () => Promise<number>;
  readonly countPrepared: () => number;
  /** Gateway sessions that are not closed. */
  readonly countGateways: () => Promise<number>;
  /** StreamChat and StreamResponses that are open. */
  readonly countStreams: () => number;
  /** Tasks that have not ended, and how many of them agents have. */
  readonly countTasks: () => Promise<{ readonly open: number; readonly handedOut: number }>;
  readonly agentsNow: () => {
    readonly live: number;
    readonly lines: number;
    /** Of all of them together. */
    readonly usage: Usage | undefined;
  };
}

/** HealthCheck and GetStatus of the three services. */
export function statusCalls(facts: ServerFacts): {
  readonly orchestrator: Handlers<typeof OrchestratorService>;
  readonly agent: Handlers<typeof AgentService>;
  readonly gateway: Handlers<typeof GatewayService>;
} {
  const lived = () => ({
    status: Status.RUNNING,
    startedAt: timestamp(facts.startedAt),
    // A moment that stands for a length: the epoch and so long after it.
    uptime: timestamp(Math.max(0, facts.clock() - facts.startedAt)),
  });
  const checked = () => {
    const subsystems = facts.subsystems();
    return {
      version: facts.version,
      subsystems: subsystems.map(({ name, problem }) => (problem === "" ? name : `${name}: ${problem}`)),
      degraded: subsystems.some(({ problem }) => problem !== ""),
    };
  };
  const health = () => {
    const { degraded, ...rest } = checked();
    return { ...rest, health: degraded ? Health.DEGRADED : Health.HEALTHY };
  };
  return {
    orchestrator: {
      healthCheck: () => health(),
      getStatus: async () => ({
        ...lived(),
        activeSessions: count32(await facts.countSessions()),
        activeContainers: count32(await facts.countContainers()),
        preparedContainers: facts.countPrepared(),
      }),
    },
    agent: {
      healthCheck: () => {
        const { version, subsystems } = checked();
        return { version, subsystems, status: Status.RUNNING };
      },
      getStatus: async () => {
        const { live, lines, usage } = facts.agentsNow();
        const { open, handedOut } = await facts.countTasks();
        return {
          ...lived(),
          state: handedOut > 0 ? AgentState.BUSY : AgentState.IDLE,
          activeTasks: count32(open),
          ...(usage === undefined ? {} : { resources: toWireUsage(usage) }),
          liveAgents: count32(live),
          openLines: count32(lines),
        };
      },
    },
    gateway: {
      healthCheck: () => health(),
      getStatus: async () => ({
        ...lived(),
        activeSessions: count32(await facts.countGateways()),
        activeStreams: count32(facts.countStreams()),
      }),
    },
  };
}
