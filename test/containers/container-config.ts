import type { ContainerConfig } from "../../src/containers/container.ts";
import type { SessionConfig } from "../../src/sessions/session.ts";

/** A config as a client gives it that names an image and nothing else. */
export function containerConfig(more: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    image: "demo:1",
    name: "",
    command: [],
    args: [],
    env: {},
    workingDir: "",
    labels: {},
    mounts: [],
    ports: [],
    networkMode: "",
    networks: [],
    limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
    restart: { name: "", maximumRetryCount: 0, timeoutNs: 0n },
    readOnlyRootfs: false,
    removeOnStop: false,
    ...more,
  };
}

/** The config of a session that asks for nothing. */
export function sessionConfig(
  more: Partial<Omit<SessionConfig, "policy" | "limits">> & {
    readonly policy?: Partial<SessionConfig["policy"]>;
    readonly limits?: Partial<SessionConfig["limits"]>;
  } = {},
): SessionConfig {
  return {
    maxContainers: 0,
    maxDurationNs: 0n,
    idleTimeoutNs: 0n,
    allowedImages: [],
    ...more,
    limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n, ...more.limits },
    policy: {
      allowNetwork: false,
      allowedNetworks: [],
      allowVolumeMount: false,
      allowedPaths: [],
      requireApproval: false,
      ...more.policy,
    },
  };
}
