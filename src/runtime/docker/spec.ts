import { Failure } from "../../failure.ts";
import type { ContainerSpec, LimitSpec, MountSpec, PortSpec } from "../runtime.ts";
import type { Dialect } from "./dialect.ts";

declare global {
  interface JSON {
    /** A JSON text that `stringify` passes on as it stands (ECMAScript's JSON.parse source text access). */
    rawJSON(text: string): object;
  }
}

/** The body of the engine's create call for this spec. Fields that say nothing are left out: the image's own hold. */
export function createBody(spec: ContainerSpec, dialect: Dialect): object {
  return {
    Image: spec.image,
    ...(spec.command.length > 0 ? { Entrypoint: spec.command } : {}),
    ...(spec.args.length > 0 ? { Cmd: spec.args } : {}),
    Env: envList(spec.env),
    ...(spec.workingDir === "" ? {} : { WorkingDir: spec.workingDir }),
    ...(spec.user === undefined || spec.user === "" ? {} : { User: spec.user }),
    ...(spec.hostname === undefined ? {} : { Hostname: spec.hostname }),
    Tty: spec.tty ?? false,
    Labels: spec.labels,
    ExposedPorts: Object.fromEntries(spec.ports.map((port) => [portKey(port), {}])),
    HostConfig: {
      NetworkMode: spec.networkMode,
      Mounts: spec.mounts.map(mountBody),
      PortBindings: portBindings(spec.ports),
      ...limitBody(spec.name, spec.limits),
      RestartPolicy: { Name: spec.restart.name, MaximumRetryCount: spec.restart.maximumRetryCount },
      ReadonlyRootfs: spec.readOnlyRootfs,
      CapDrop: spec.dropCapabilities,
      SecurityOpt: spec.noNewPrivileges ? ["no-new-privileges:true"] : [],
      Init: spec.init,
      ...(spec.logBytes === undefined ? {} : { LogConfig: dialect.logConfig(spec.logBytes) }),
      ...(dialect.ulimits.length === 0 ? {} : { Ulimits: dialect.ulimits }),
    },
    // One network is all that engines take here; the others are connected afterwards.
    ...(spec.aliases === undefined
      ? {}
      : { NetworkingConfig: { EndpointsConfig: { [spec.networkMode]: endpointBody(spec) } } }),
  };
}

/** How a container is found in a network. */
export function endpointBody(spec: Pick<ContainerSpec, "aliases">): object {
  return { Aliases: spec.aliases ?? [] };
}

/** Environment as the engine takes it: `NAME=value`. */
export function envList(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/** Limits as the engine takes them. Fails INVALID_ARGUMENT for what it can't be told, with the container's name. */
export function limitBody(name: string, limits: LimitSpec): object {
  return {
    ...limit(name, "NanoCpus", limits.nanoCpu),
    ...limit(name, "Memory", limits.memoryBytes),
    ...limit(name, "MemorySwap", limits.memorySwapBytes),
    ...limit(name, "PidsLimit", limits.pids),
  };
}

function limit(container: string, field: string, value: LimitSpec[keyof LimitSpec]): object {
  if (value === 0n) return {};
  if (BigInt.asIntN(64, value) !== value) {
    throw new Failure(
      "invalid_argument",
      `Cannot create container "${container}": ${field} ${value} is beyond 64 bits`,
    );
  }
  // A JSON number as it stands: as a Number it would be rounded above 2^53.
  return { [field]: JSON.rawJSON(value.toString()) };
}

function mountBody(mount: MountSpec): object {
  const shared = { Type: mount.kind, Target: mount.target, ReadOnly: mount.readOnly };
  if (mount.kind === "tmpfs") return shared;
  if (mount.kind === "volume") return mount.source === "" ? shared : { ...shared, Source: mount.source };
  return { ...shared, Source: mount.source, BindOptions: { Propagation: "rprivate" } };
}

function portKey(port: PortSpec): string {
  return `${port.containerPort}/${port.protocol}`;
}

function portBindings(ports: readonly PortSpec[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of ports) {
    const binding = { HostIp: port.hostIp, HostPort: port.hostPort === 0 ? "" : String(port.hostPort) };
    const key = portKey(port);
    bindings[key] = [...(bindings[key] ?? []), binding];
  }
  return bindings;
}
