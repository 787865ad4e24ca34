import type { SessionId } from "../../sessions/session.ts";
import type { ContainerConfig } from "../container.ts";
import { type ContainerDefaults, type HardenedSpec, judgeContainer } from "./policy.ts";

const noLimits = { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n };

/** What a container of this image is that asks for nothing, in a session that asks for nothing. */
export function plainSpec(image: string, defaults: ContainerDefaults): HardenedSpec {
  const config: ContainerConfig = {
    image,
    ...{ name: "", command: [], args: [], env: {}, workingDir: "", labels: {}, mounts: [], ports: [] },
    ...{ networkMode: "", networks: [], limits: noLimits, readOnlyRootfs: false, removeOnStop: false },
    restart: { name: "", maximumRetryCount: 0, timeoutNs: 0n },
  };
  const policy = {
    ...{ allowNetwork: false, allowedNetworks: [], allowVolumeMount: false, allowedPaths: [] },
    requireApproval: false,
  };
  const session = {
    id: "" as SessionId, // as: of no session
    config: {
      ...{ maxContainers: 1, maxDurationNs: 0n, idleTimeoutNs: 0n, limits: noLimits, allowedImages: [] },
      policy,
    },
  };
  const found = { paths: new Map(), networks: new Map(), guarded: [] };
  const verdict = judgeContainer(config, { session, used: noLimits, defaults, found });
  if (verdict.kind === "allowed") return verdict.spec;
  throw new Error(`a container that asks for nothing is refused: ${JSON.stringify(verdict.refusals)}`);
}
