import type { PortSpec } from "../../runtime/runtime.ts";
import type { Session } from "../../sessions/session.ts";
import { type ContainerConfig, networkName } from "../container.ts";
import { completePort, isSharing } from "./network-limits.ts";
import type { Refusal } from "./refusal.ts";

/** What was found of a further network: there and nobody's, some session's, or not there. */
export type FoundNetwork = "free" | "of_a_session" | "missing";

/** Into which networks a container goes, and under which names; an entry of `refusals` for each reason why not. */
export function networksFor(
  config: ContainerConfig,
  options: {
    readonly session: Pick<Session, "id" | "config">;
    readonly networks: ReadonlyMap<string, FoundNetwork>;
  },
): {
  /** `none`, or the name of the session's own network. */
  readonly networkMode: string;
  readonly networks: readonly string[];
  readonly ports: readonly PortSpec[];
  readonly refusals: readonly Refusal[];
} {
  const { session, networks } = options;
  const { allowNetwork } = session.config.policy;
  const refusals: Refusal[] = [];
  const deny = (field: string, description: string) => refusals.push({ kind: "denied", field, description });
  const { networkMode: mode } = config;
  if (isSharing(mode)) {
    deny("config.network_mode", `is "${mode.slice(0, 64)}": no container gets another's network`);
  } else if (mode === "bridge" && !allowNetwork) {
    deny("config.network_mode", 'is "bridge": the session\'s policy has no allow_network');
  }
  if (config.ports.length > 0 && !allowNetwork) {
    deny("config.ports", "need a network: the session's policy has no allow_network");
  }
  config.networks.forEach((name, index) => {
    const refusal = furtherRefusal(name, { session, found: networks.get(name) ?? "missing" });
    if (refusal !== undefined) refusals.push({ ...refusal, field: `config.networks[${index}]` });
  });
  const none = mode === "none" || !allowNetwork;
  return {
    networkMode: none ? "none" : networkName(session.id),
    networks: config.networks,
    ports: config.ports.map(portSpec),
    refusals,
  };
}

function furtherRefusal(
  name: string,
  { session, found }: { readonly session: Pick<Session, "config">; readonly found: FoundNetwork },
): Pick<Refusal, "kind" | "description"> | undefined {
  const { policy } = session.config;
  const is = `is "${name}"`;
  if (!policy.allowNetwork) {
    return { kind: "denied", description: `${is}: the session's policy has no allow_network` };
  }
  if (!policy.allowedNetworks.includes(name)) {
    const allowed = policy.allowedNetworks.slice(0, 8).join(", ") || "none";
    return { kind: "denied", description: `${is}: the session's allowed_networks are ${allowed}` };
  }
  if (["host", "none", "default", "bridge"].includes(name)) {
    return { kind: "denied", description: `${is}, which is the engine's own: make a network, and name that` };
  }
  if (found === "of_a_session") {
    return { kind: "denied", description: `${is}, which is the network of a session` };
  }
  return found === "missing"
    ? { kind: "invalid", description: `${is}, which the engine does not have` }
    : undefined;
}

function portSpec(port: ContainerConfig["ports"][number]): PortSpec {
  const { containerPort, hostPort, protocol, hostIp } = completePort(port);
  return {
    containerPort,
    hostPort,
    protocol: protocol === "udp" || protocol === "sctp" ? protocol : "tcp",
    hostIp,
  };
}
