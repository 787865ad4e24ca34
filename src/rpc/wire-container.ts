import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Container,
  type ContainerConfig,
  type ContainerLife,
  isMade,
  type MadeLife,
  type MountConfig,
  type PullPolicy,
} from "../containers/container.ts";
import type { ContainerFilter, ContainerView } from "../containers/containers.ts";
import { invalid } from "../failure.ts";
import { Health, Status, StatusSchema } from "../gen/proto/common/v1/common_pb.ts";
import {
  type ContainerSchema,
  ContainerStateSchema,
  MountType,
  MountTypeSchema,
  PullPolicySchema,
  type ContainerConfig as WireConfig,
  type ContainerFilter as WireFilter,
  PullPolicy as WirePull,
  ContainerState as WireState,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { limitsOf } from "./wire-session.ts";
import { toWireUsage } from "./wire-usage.ts";
import { knownEnum, timestamp } from "./wire-values.ts";

type State = ContainerLife["state"] | "unknown";

const states = [
  "waiting",
  "creating",
  "created",
  "running",
  "paused",
  "restarting",
  "removing",
  "exited",
  "unknown",
] as const;

const wireStates: Readonly<Record<State, WireState>> = {
  waiting: WireState.CREATED,
  creating: WireState.CREATED,
  created: WireState.CREATED,
  running: WireState.RUNNING,
  paused: WireState.PAUSED,
  restarting: WireState.RESTARTING,
  removing: WireState.REMOVING,
  exited: WireState.EXITED,
  unknown: WireState.UNKNOWN,
};

const wireStatuses: Readonly<Record<State, Status>> = {
  waiting: Status.STARTING,
  creating: Status.STARTING,
  created: Status.STARTING,
  running: Status.RUNNING,
  paused: Status.STOPPED,
  restarting: Status.STARTING,
  removing: Status.STOPPING,
  exited: Status.STOPPED,
  unknown: Status.UNKNOWN,
};

const wireHealths = {
  none: Health.UNKNOWN,
  starting: Health.CHECKING,
  healthy: Health.HEALTHY,
  unhealthy: Health.UNHEALTHY,
};

const mountTypes: Readonly<Record<MountConfig["type"], MountType>> = {
  unspecified: MountType.UNSPECIFIED,
  bind: MountType.BIND,
  volume: MountType.VOLUME,
  tmpfs: MountType.TMPFS,
};

export function toWireContainerState(view: ContainerView): WireState {
  return wireStates[stateOf(view)];
}

/** A container as the wire has it; UNKNOWN with the reason while the engine can't be asked. */
export function toWireContainer(view: ContainerView): MessageInitShape<typeof ContainerSchema> {
  const { container, known, usage } = view;
  const { life } = container;
  const state = stateOf(view);
  return {
    id: container.id,
    name: container.name,
    image: container.config.image,
    state: wireStates[state],
    status: wireStatuses[state],
    createdAt: timestamp(container.createdAt),
    config: toWireConfig(container),
    sessionId: container.sessionId,
    ...(usage === undefined ? {} : { resources: toWireUsage(usage) }),
    ...(isMade(life) ? madeFields(life) : { health: Health.UNKNOWN, stateReason: unmade[life.state] }),
    ...(known.kind === "no" ? { stateReason: known.reason } : {}),
  };
}

/** What a client asks for. Failures: INVALID_ARGUMENT when it is missing or has unknown enum values. */
export function containerConfigOf(wire: WireConfig | undefined): ContainerConfig {
  if (wire === undefined)
    throw invalid("create a container", [{ field: "config", description: "is missing" }]);
  const { name = "", maximumRetryCount = 0, timeoutNs = 0n } = wire.restartPolicy ?? {};
  return {
    image: wire.image,
    name: wire.name,
    command: wire.command,
    args: wire.args,
    env: wire.env,
    workingDir: wire.workingDir,
    labels: wire.labels,
    mounts: wire.mounts.map(({ type, source, target, readOnly }, index) => ({
      type: mountTypeOf(type, `config.mounts[${index}].type`),
      source,
      target,
      readOnly,
    })),
    ports: wire.ports.map(({ containerPort, hostPort, protocol, hostIp }) => ({
      containerPort,
      hostPort,
      protocol,
      hostIp,
    })),
    networkMode: wire.networkMode,
    networks: wire.networks,
    limits: limitsOf(wire.resourceLimits),
    restart: { name, maximumRetryCount, timeoutNs },
    readOnlyRootfs: wire.readOnlyRootfs,
    removeOnStop: wire.removeOnStop,
  };
}

export function pullPolicyOf(wire: WirePull): PullPolicy {
  switch (knownEnum(PullPolicySchema, wire, "pull")) {
    case WirePull.NEVER:
      return "never";
    case WirePull.ALWAYS:
      return "always";
    default:
      return "missing";
  }
}

export function containerFilterOf(wire: WireFilter | undefined): ContainerFilter {
  if (wire === undefined) return {};
  knownEnum(ContainerStateSchema, wire.state, "filter.state");
  knownEnum(StatusSchema, wire.status, "filter.status");
  const any = wire.state === WireState.UNSPECIFIED && wire.status === Status.UNSPECIFIED;
  const wanted = states.filter(
    (state) =>
      (wire.state === WireState.UNSPECIFIED || wireStates[state] === wire.state) &&
      (wire.status === Status.UNSPECIFIED || wireStatuses[state] === wire.status),
  );
  return {
    ...(wire.sessionId === "" ? {} : { sessionId: wire.sessionId }),
    ...(any ? {} : { states: wanted }),
    labels: wire.labels,
  };
}

function stateOf({ container, known }: ContainerView): State {
  return known.kind === "no" ? "unknown" : container.life.state;
}

const unmade = { creating: "it is being created", waiting: "it waits for approval" };

function madeFields(life: MadeLife) {
  return {
    health: wireHealths[life.health],
    stateReason: life.reason,
    runtimeId: life.runtimeId,
    imageDigest: life.imageDigest,
    oomKilled: life.oomKilled,
    ...(life.startedAt === null ? {} : { startedAt: timestamp(life.startedAt) }),
    ...(life.state === "exited" ? { exitedAt: timestamp(life.exitedAt), exitCode: life.exitCode } : {}),
  };
}

function mountTypeOf(wire: MountType, field: string): MountConfig["type"] {
  knownEnum(MountTypeSchema, wire, field);
  return (["bind", "volume", "tmpfs"] as const).find((type) => mountTypes[type] === wire) ?? "unspecified";
}

function toWireConfig({ config, life }: Container) {
  const ports = isMade(life) ? life.ports : config.ports;
  return {
    image: config.image,
    name: config.name,
    command: [...config.command],
    args: [...config.args],
    env: { ...config.env },
    workingDir: config.workingDir,
    labels: { ...config.labels },
    mounts: config.mounts.map((mount) => ({ ...mount, type: mountTypes[mount.type] })),
    ports: ports.map((port) => ({ ...port })),
    networkMode: config.networkMode,
    networks: [...config.networks],
    resourceLimits: config.limits,
    restartPolicy: config.restart,
    readOnlyRootfs: config.readOnlyRootfs,
    removeOnStop: config.removeOnStop,
  };
}
