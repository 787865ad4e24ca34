import type { MessageInitShape } from "@bufbuild/protobuf";
import { sumOf, type Usage } from "../containers/usage.ts";
import type { ResourceLimits as WireLimits } from "../gen/proto/common/v1/common_pb.ts";
import { Status, StatusSchema } from "../gen/proto/common/v1/common_pb.ts";
import {
  type SessionSchema,
  SessionStateSchema,
  type SessionConfig as WireConfig,
  type SessionFilter as WireFilter,
  type SessionMetadata as WireMetadata,
  SessionState as WireState,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Message } from "../messages/message.ts";
import type {
  Activity,
  ResourceLimits,
  Session,
  SessionConfig,
  SessionMetadata,
} from "../sessions/session.ts";
import type { SessionFilter } from "../sessions/sessions.ts";
import type { TaskContext } from "../tasks/tasks.ts";
import { toWireMessage } from "./wire-message.ts";
import { toWireUsage } from "./wire-usage.ts";
import { knownEnum, timestamp } from "./wire-values.ts";

type State = Session["life"]["state"];

const wireStates: Readonly<Record<State, WireState>> = {
  active: WireState.ACTIVE,
  closing: WireState.CLOSING,
  closed: WireState.CLOSED,
};

/** Of a session, and of a gateway session. */
export const sessionStatuses: Readonly<Record<State, Status>> = {
  active: Status.RUNNING,
  closing: Status.STOPPING,
  closed: Status.TERMINATED,
};

export function toWireSessionState(session: Session): WireState {
  return wireStates[session.life.state];
}

/** A session as the wire has it, with such messages as are given. */
export function toWireSession(
  session: Session,
  more: {
    readonly activity?: Activity | undefined;
    readonly messages?: readonly Message[];
    /** Of its containers. */
    readonly usages?: readonly Usage[];
    /** Said where the client has kept nothing of its own there. */
    readonly tasks?: TaskContext;
  } = {},
): MessageInitShape<typeof SessionSchema> {
  const { life } = session;
  const usage = sumOf(more.usages ?? []);
  const expiresAt = life.state === "active" ? more.activity?.expiresAt : undefined;
  return {
    id: session.id,
    state: wireStates[life.state],
    status: sessionStatuses[life.state],
    createdAt: timestamp(session.createdAt),
    updatedAt: timestamp(session.updatedAt),
    ...(expiresAt === undefined || expiresAt === null ? {} : { expiresAt: timestamp(expiresAt) }),
    ...(life.state === "closed" ? { closedAt: timestamp(life.at) } : {}),
    metadata: { ...session.metadata, tags: [...session.metadata.tags] },
    context: {
      messages: (more.messages ?? []).map(toWireMessage),
      currentTaskId: session.currentTaskId || (more.tasks?.currentTaskId ?? ""),
      taskHistory:
        session.taskHistory.length > 0 ? [...session.taskHistory] : [...(more.tasks?.taskHistory ?? [])],
      preferences: session.preferences,
      config: toWireConfig(session.config),
      ...(usage === undefined ? {} : { resourceUsage: toWireUsage(usage) }),
    },
    containerIds: [...session.containerIds],
    ...(life.state === "active" ? {} : { closeReason: life.reason, closedBy: life.by }),
  };
}

export function metadataOf(wire: WireMetadata | undefined): SessionMetadata {
  const { name = "", description = "", labels = {}, ownerId = "", tags = [] } = wire ?? {};
  return { name, description, labels, ownerId, tags };
}

export function configOf(wire: WireConfig | undefined): SessionConfig {
  const { allowNetwork = false, allowedNetworks = [], allowVolumeMount = false } = wire?.policy ?? {};
  const { allowedPaths = [], requireApproval = false } = wire?.policy ?? {};
  return {
    maxContainers: wire?.maxContainers ?? 0,
    maxDurationNs: wire?.maxDurationNs ?? 0n,
    idleTimeoutNs: wire?.idleTimeoutNs ?? 0n,
    limits: limitsOf(wire?.resourceLimits),
    allowedImages: wire?.allowedImages ?? [],
    policy: { allowNetwork, allowedNetworks, allowVolumeMount, allowedPaths, requireApproval },
  };
}

export function limitsOf(wire: WireLimits | undefined): ResourceLimits {
  const { nanoCpu = 0n, memoryBytes = 0n, memorySwap = 0n, pidsLimit = 0n } = wire ?? {};
  return { nanoCpu, memoryBytes, memorySwap, pidsLimit };
}

export function sessionFilterOf(wire: WireFilter | undefined): SessionFilter {
  if (wire === undefined) return {};
  knownEnum(SessionStateSchema, wire.state, "filter.state");
  knownEnum(StatusSchema, wire.status, "filter.status");
  const wanted = (["active", "closing", "closed"] as const).filter(
    (state) =>
      (wire.state === WireState.UNSPECIFIED || wireStates[state] === wire.state) &&
      (wire.status === Status.UNSPECIFIED || sessionStatuses[state] === wire.status),
  );
  const any = wire.state === WireState.UNSPECIFIED && wire.status === Status.UNSPECIFIED;
  return {
    ...(any ? {} : { states: wanted }),
    ...(wire.ownerId === "" ? {} : { ownerId: wire.ownerId }),
    labels: wire.labels,
  };
}

function toWireConfig(config: SessionConfig) {
  const { policy } = config;
  return {
    maxContainers: config.maxContainers,
    maxDurationNs: config.maxDurationNs,
    idleTimeoutNs: config.idleTimeoutNs,
    resourceLimits: config.limits,
    allowedImages: [...config.allowedImages],
    policy: {
      ...policy,
      allowedNetworks: [...policy.allowedNetworks],
      allowedPaths: [...policy.allowedPaths],
    },
  };
}
