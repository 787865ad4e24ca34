import { isIP } from "node:net";
import type { FieldViolation } from "../../failure.ts";
import type { ContainerConfig, PortConfig } from "../container.ts";

const maxPorts = 256;
const maxNetworks = 16;
const protocols = ["tcp", "udp", "sctp"];

/** What is wrong with a container's name, networks and ports as such, whatever the policy is. */
export function networkViolations(config: ContainerConfig): readonly FieldViolation[] {
  return [
    ...nameViolations(config.name),
    ...modeViolations(config),
    ...furtherViolations(config),
    ...portViolations(config),
  ];
}

/** What is missing in a port is filled in: it is reached from this host alone unless it says otherwise. */
export function completePort(port: PortConfig): PortConfig {
  return {
    ...port,
    protocol: port.protocol === "" ? "tcp" : port.protocol,
    hostIp: port.hostIp === "" ? "127.0.0.1" : port.hostIp,
  };
}

/** As DNS takes it, since it is how the session's other containers find it. */
function nameViolations(name: string): readonly FieldViolation[] {
  if (name === "" || /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return [];
  const description = `is "${name.slice(0, 64)}"; 1 to 63 of a-z, 0-9 and - are allowed, with no - at either end`;
  return [{ field: "config.name", description }];
}

function modeViolations({ networkMode }: ContainerConfig): readonly FieldViolation[] {
  // Those that share a network with the host or another container are for policy to refuse.
  if (["", "none", "bridge"].includes(networkMode) || isSharing(networkMode)) return [];
  const description = `is "${networkMode.slice(0, 64)}"; none and bridge are allowed, and config.networks has further networks`;
  return [{ field: "config.network_mode", description }];
}

/** Whether a mode takes away the container's own network: `host`, `container:…`, `ns:…`. */
export function isSharing(networkMode: string): boolean {
  return /^(host|container|ns|pod|service)(:|$)/.test(networkMode);
}

function furtherViolations({ networks, networkMode }: ContainerConfig): readonly FieldViolation[] {
  if (networks.length > 0 && networkMode === "none") {
    return [{ field: "config.networks", description: "are named, and config.network_mode is none" }];
  }
  if (networks.length > maxNetworks) {
    const description = `has ${networks.length} entries; at most ${maxNetworks} are allowed`;
    return [{ field: "config.networks", description }];
  }
  return networks.flatMap((name, index) => {
    const field = `config.networks[${index}]`;
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name))
      return [{ field, description: `is "${name.slice(0, 64)}", which is not the name of a network` }];
    const before = networks.indexOf(name);
    if (before === index) return [];
    return [{ field, description: `is "${name.slice(0, 64)}", the same as config.networks[${before}]` }];
  });
}

function portViolations({ ports, networkMode }: ContainerConfig): readonly FieldViolation[] {
  if (ports.length > maxPorts) {
    const description = `has ${ports.length} entries; at most ${maxPorts} are allowed`;
    return [{ field: "config.ports", description }];
  }
  const violations = ports.flatMap((port, index) => onePort(port, `config.ports[${index}]`));
  if (ports.length > 0 && networkMode === "none") {
    const description = "need a network, and config.network_mode is none";
    violations.push({ field: "config.ports", description });
  }
  return [...violations, ...twice(ports)];
}

function onePort({ containerPort, hostPort, protocol, hostIp }: PortConfig, at: string): FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (containerPort < 1 || containerPort > 65_535) {
    const description = `is ${containerPort}; 1 to 65535 are allowed`;
    violations.push({ field: `${at}.container_port`, description });
  }
  if (hostPort < 0 || hostPort > 65_535) {
    const description = `is ${hostPort}; 1 to 65535, or 0 for any free one, are allowed`;
    violations.push({ field: `${at}.host_port`, description });
  }
  if (protocol !== "" && !protocols.includes(protocol)) {
    const description = `is "${protocol.slice(0, 64)}"; ${protocols.join(", ")} are allowed`;
    violations.push({ field: `${at}.protocol`, description });
  }
  if (hostIp !== "" && (isIP(hostIp) === 0 || hostIp.includes("%"))) {
    const description = `is "${hostIp.slice(0, 64)}", which is not an address; empty means 127.0.0.1`;
    violations.push({ field: `${at}.host_ip`, description });
  }
  return violations;
}

/** One port of the host can lead to one place only. */
function twice(ports: readonly PortConfig[]): readonly FieldViolation[] {
  const complete = ports.map(completePort);
  return complete.flatMap((port, index) => {
    const before = complete.findIndex((other) => clash(port, other));
    if (port.hostPort === 0 || before === index) return [];
    const both = (one: number, other: number) => ({
      field: `config.ports[${one}].host_port`,
      description: `is ${port.hostPort}, the same as config.ports[${other}].host_port`,
    });
    return [both(before, index), both(index, before)];
  });
}

function clash(one: PortConfig, other: PortConfig): boolean {
  if (one.hostPort !== other.hostPort || one.protocol !== other.protocol) return false;
  const wide = (ip: string) => ip === "0.0.0.0" || ip === "::";
  return one.hostIp === other.hostIp || wide(one.hostIp) || wide(other.hostIp);
}
