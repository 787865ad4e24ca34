import { Failure, type FieldViolation } from "../failure.ts";
import type { ContainerSpec, LimitSpec } from "../runtime/runtime.ts";
import type { ResourceLimits, SessionConfig } from "../sessions/session.ts";
import type { ContainerConfig } from "./container.ts";

/** What a container gets that asks for nothing, in a session that asks for nothing. */
export interface ContainerDefaults {
  readonly nanoCpu: bigint;
  readonly memoryBytes: bigint;
  readonly pids: bigint;
  /** How much of its output the engine keeps. */
  readonly logBytes: number;
}

/** What policy makes of a config: all of the engine's settings but those that name the container. */
export type HardenedSpec = Omit<ContainerSpec, "name" | "labels">;

/**
 * What a container of this session becomes in the engine: closed by default, opened only by what was asked for and is
 * allowed.
 *
 * Failures: PERMISSION_DENIED naming every field that the session's policy refuses; UNIMPLEMENTED naming what this
 * version can't do yet.
 */
export function hardenedSpec(
  config: ContainerConfig,
  options: { readonly session: SessionConfig; readonly defaults: ContainerDefaults },
): HardenedSpec {
  const { session, defaults } = options;
  const refusals = [
    ...imageRefusals(config, session),
    ...limitRefusals(config, session),
    ...mountRefusals(config, session),
  ];
  if (refusals.length > 0) {
    const named = refusals.map(({ field, description }) => `${field} ${description}`).join("; ");
    throw new Failure("permission_denied", `Cannot create a container of image "${config.image}": ${named}`, {
      reason: "POLICY_VIOLATION",
      violations: refusals,
    });
  }
  refuseUnserved(config, session);
  return {
    image: config.image,
    command: config.command,
    args: config.args,
    env: config.env,
    workingDir: config.workingDir,
    mounts: config.mounts.map(({ target, readOnly }) => ({ kind: "tmpfs", target, readOnly })),
    ports: [],
    networkMode: "none",
    limits: limitsFor(config.limits, { session: session.limits, defaults }),
    restart: { name: restartName(config.restart.name), maximumRetryCount: config.restart.maximumRetryCount },
    readOnlyRootfs: config.readOnlyRootfs,
    dropCapabilities: ["ALL"],
    noNewPrivileges: true,
    init: false,
    logBytes: BigInt(defaults.logBytes),
  };
}

/** Whether an image is one of `allowed`, where `*` stands for any run of characters; any image when the list is empty. */
export function imageAllowed(image: string, allowed: readonly string[]): boolean {
  if (allowed.length === 0) return true;
  const names = [image, withTag(image)];
  return allowed.some((pattern) => {
    const tagged = withTag(pattern);
    return pattern === image || names.some((name) => matchesWildcard(name, tagged));
  });
}

/**
 * Whether all of `text` is `pattern`, where `*` stands for any run of characters. Not as a regular expression: clients
 * write the patterns, and one with many stars would take a backtracking matcher for ever.
 */
function matchesWildcard(text: string, pattern: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  if (last === undefined) return text === pattern;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  // The leftmost place of each part leaves the most room for those after it.
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}

function imageRefusals(config: ContainerConfig, session: SessionConfig): readonly FieldViolation[] {
  if (imageAllowed(config.image, session.allowedImages)) return [];
  return [
    {
      field: "config.image",
      description: `is "${config.image}"; the session allows ${session.allowedImages.join(", ")}`,
    },
  ];
}

/** A container may not ask for more than its session has. */
function limitRefusals(config: ContainerConfig, session: SessionConfig): readonly FieldViolation[] {
  const pairs = [
    ["nano_cpu", config.limits.nanoCpu, session.limits.nanoCpu],
    ["memory_bytes", config.limits.memoryBytes, session.limits.memoryBytes],
    ["pids_limit", config.limits.pidsLimit, session.limits.pidsLimit],
  ] as const;
  const swap = config.limits.memorySwap;
  // Swap counts together with memory, so a limit on memory alone is one on both.
  const mostSwap = session.limits.memorySwap === 0n ? session.limits.memoryBytes : session.limits.memorySwap;
  return [...pairs, ["memory_swap", swap === -1n ? endless : swap, mostSwap] as const]
    .filter(([, asked, most]) => most > 0n && asked > most)
    .map(([name, asked, most]) => ({
      field: `config.resource_limits.${name}`,
      description: `is ${asked === endless ? -1n : asked}; the session has ${most}`,
    }));
}

/** More than any number that the wire can carry. */
const endless = 2n ** 63n;

function mountRefusals(config: ContainerConfig, session: SessionConfig): readonly FieldViolation[] {
  // Memory is nothing of the host's that policy would have to guard.
  const ofHost = config.mounts.some((mount) => mount.type !== "tmpfs");
  if (!ofHost || session.policy.allowVolumeMount) return [];
  return [
    {
      field: "config.mounts",
      description: "are not allowed: the session's policy has no allow_volume_mount",
    },
  ];
}

function refuseUnserved(config: ContainerConfig, session: SessionConfig): void {
  const unserved: string[] = [];
  if (config.mounts.some((mount) => mount.type !== "tmpfs"))
    unserved.push("config.mounts of another type than TMPFS");
  if (config.ports.length > 0) unserved.push("config.ports");
  if (config.networks.length > 0) unserved.push("config.networks");
  if (!["", "none"].includes(config.networkMode))
    unserved.push(`config.network_mode "${config.networkMode.slice(0, 64)}"`);
  if (session.policy.allowNetwork && config.networkMode === "") unserved.push("policy.allow_network");
  if (session.policy.requireApproval) unserved.push("policy.require_approval");
  if (unserved.length === 0) return;
  throw new Failure(
    "unimplemented",
    `Cannot create a container with ${unserved.join(", ")}: this version does not serve it yet`,
  );
}

function limitsFor(
  asked: ResourceLimits,
  options: { readonly session: ResourceLimits; readonly defaults: ContainerDefaults },
): LimitSpec {
  const { session, defaults } = options;
  const memoryBytes = limitFor(asked.memoryBytes, session.memoryBytes, defaults.memoryBytes);
  return {
    nanoCpu: limitFor(asked.nanoCpu, session.nanoCpu, defaults.nanoCpu),
    memoryBytes,
    // Without swap unless it was asked for: swap would let a container use more than its limit says.
    memorySwapBytes:
      asked.memorySwap !== 0n
        ? asked.memorySwap
        : session.memorySwap !== 0n
          ? session.memorySwap
          : memoryBytes,
    pids: limitFor(asked.pidsLimit, session.pidsLimit, defaults.pids),
  };
}

/** What was asked for; else the default, or the session's own limit where that is less or more telling. */
function limitFor(asked: bigint, session: bigint, fallback: bigint): bigint {
  if (asked > 0n) return asked;
  return session > 0n ? session : fallback;
}

function restartName(name: string): ContainerSpec["restart"]["name"] {
  switch (name) {
    case "on-failure":
    case "always":
    case "unless-stopped":
      return name;
    default:
      return "no";
  }
}

/** As the engine reads it: without a tag or a digest, `latest` is meant. */
function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") || last.includes("*") ? image : `${image}:latest`;
}
