import type { DescService } from "@bufbuild/protobuf";
import type { EventLog } from "../events/log.ts";
import { Health as HealthService } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AgentService } from "../gen/proto/agent/v1/agent_pb.ts";
import { GatewayService } from "../gen/proto/gateway/v1/gateway_pb.ts";
import { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { addService, type RpcServer } from "../rpc/adapter.ts";
import { agentCalls } from "../rpc/agent-calls.ts";
import { approvalCalls } from "../rpc/approval-calls.ts";
import { containerCalls } from "../rpc/container-calls.ts";
import { copyCalls } from "../rpc/copy-calls.ts";
import { eventCalls } from "../rpc/event-calls.ts";
import { execCalls } from "../rpc/exec-calls.ts";
import { familyNames } from "../rpc/families.ts";
import { type GatewayCallParts, gatewayCalls } from "../rpc/gateway-calls.ts";
import { Health } from "../rpc/health.ts";
import { imageCalls } from "../rpc/image-calls.ts";
import { lineCalls } from "../rpc/line-calls.ts";
import { messageStreamCalls } from "../rpc/message-stream.ts";
import { pauseCalls } from "../rpc/pause-calls.ts";
import { reflection } from "../rpc/reflection.ts";
import { sessionCalls } from "../rpc/session-calls.ts";
import { statsCalls } from "../rpc/stats-calls.ts";
import { type ServerFacts, statusCalls } from "../rpc/status-calls.ts";
import { taskCalls } from "../rpc/task-calls.ts";
import { strandCalls } from "../rpc/task-strands.ts";
import type { Config } from "./config.ts";
import type { Domain } from "./domain.ts";

/** The health name of what needs the container engine. */
export const containersHealth = "proto.orchestrator.v1.containers";

const own = [OrchestratorService, AgentService, GatewayService] as const;
const foreign = [HealthService, ServerReflection, ServerReflectionAlpha] as const;

/** The health names: the server, the three areas, every service under each of its names, and the container engine. */
export function createHealth(): Health {
  const services: readonly DescService[] = [...own, ...foreign];
  return new Health([
    "",
    "orchestrator",
    "agent",
    "gateway",
    containersHealth,
    ...services.flatMap(familyNames),
  ]);
}

/** Serves everything under all of its names. */
export function addServices(
  server: RpcServer,
  parts: {
    readonly domain: Domain;
    readonly log: EventLog;
    readonly health: Health;
    readonly facts: ServerFacts & Pick<GatewayCallParts, "countStream">;
    readonly config: Config;
  },
): void {
  const { domain, log, health, facts, config } = parts;
  const limits = {
    maxPageSize: config.limits.maxPageSize,
    maxKeyLength: config.limits.maxIdempotencyKeyLength,
  };
  const status = statusCalls(facts);
  const add = <Service extends DescService>(
    service: Service,
    handlers: Parameters<typeof addService<Service>>[2],
  ) => addService(server, service, handlers, familyNames(service).slice(1));
  add(OrchestratorService, {
    ...sessionCalls({ ...domain, log, ...limits }),
    ...containerCalls({ ...domain, log, ...limits }),
    ...copyCalls(domain.copies),
    ...imageCalls(domain.images),
    ...execCalls({ ...domain, log, ...limits }),
    ...pauseCalls(domain.pausing),
    ...approvalCalls(domain.approvals),
    ...statsCalls(domain.stats),
    ...eventCalls(log),
    ...messageStreamCalls({ ...domain, log }),
    ...status.orchestrator,
  });
  const taskParts = { ...domain, ...limits, streams: domain.taskStreams, log, clock: facts.clock };
  add(AgentService, {
    ...agentCalls({ ...domain, ...limits, ...config.agents, log, clock: facts.clock }),
    ...lineCalls({ ...domain, ...limits, ...config.agents }),
    ...taskCalls(taskParts),
    ...strandCalls(taskParts),
    ...status.agent,
  });
  const { countStream } = facts;
  add(GatewayService, { ...gatewayCalls({ ...domain, log, countStream, ...limits }), ...status.gateway });
  add(HealthService, health.handlers);
  const { v1, v1alpha } = reflection([...own, ...foreign]);
  add(ServerReflection, v1);
  add(ServerReflectionAlpha, v1alpha);
}
