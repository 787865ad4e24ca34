import type { ContainerSpec } from "../../runtime/runtime.ts";
import type { ResourceLimits, Session, SessionConfig } from "../../sessions/session.ts";
import type { ContainerConfig } from "../container.ts";
import { limitsFor } from "./limit-policy.ts";
import { type FoundPath, type GuardedPath, mountsFor } from "./mount-policy.ts";
import { type FoundNetwork, networksFor } from "./network-policy.ts";
import type { Refusal } from "./refusal.ts";

/** What a container gets that asks for nothing, in a session that asks for nothing. */
export interface ContainerDefaults {
  readonly nanoCpu: bigint;
  readonly memoryBytes: bigint;
  readonly pids: bigint;
  /** How much of its output the engine keeps. */
  readonly logBytes: number;
  /** Host paths at or under which bind mounts may begin, whatever sessions allow. */
  readonly allowedPaths: readonly string[];
}

/** What was looked up of host and engine before policy is asked. */
export interface Findings {
  /** By the sources of bind mounts. */
  readonly paths: ReadonlyMap<string, FoundPath>;
  /** By the names of further networks. */
  readonly networks: ReadonlyMap<string, FoundNetwork>;
  readonly guarded: readonly GuardedPath[];
}

/** What policy makes of a config: all of the engine's settings but those that name the container. */
export type HardenedSpec = Omit<ContainerSpec, "name" | "labels">;

export type Verdict =
  | { readonly kind: "allowed"; readonly spec: HardenedSpec }
  /** At least one. */
  | { readonly kind: "refused"; readonly refusals: readonly Refusal[] };

/**
 * What a container of this session becomes in the engine: closed by default, opened only by what was asked for and is
 * allowed. Pure: what host and engine have was looked up before.
 */
export function judgeContainer(
  config: ContainerConfig,
  options: {
    readonly session: Pick<Session, "id" | "config">;
    /** What the session's containers have together. */
    readonly used: ResourceLimits;
    readonly defaults: ContainerDefaults;
    readonly found: Findings;
  },
): Verdict {
  const { session, used, defaults, found } = options;
  const { limits, refusals: overLimits } = limitsFor(config.limits, {
    session: session.config.limits,
    used,
    defaults,
  });
  const { mounts, refusals: badMounts } = mountsFor(config.mounts, {
    session,
    allowedPaths: defaults.allowedPaths,
    paths: found.paths,
    guarded: found.guarded,
  });
  const { refusals: badNetworks, ...network } = networksFor(config, { session, networks: found.networks });
  const refusals = [...imageRefusals(config, session.config), ...overLimits, ...badMounts, ...badNetworks];
  if (refusals.length > 0) return { kind: "refused", refusals };
  const spec: HardenedSpec = {
    image: config.image,
    command: config.command,
    args: config.args,
    env: config.env,
    workingDir: config.workingDir,
    mounts,
    ...network,
    ...(network.networkMode === "none" || config.name === "" ? {} : { aliases: [config.name] }),
    ...(config.name === "" ? {} : { hostname: config.name }),
    limits,
    restart: { name: restartName(config.restart.name), maximumRetryCount: config.restart.maximumRetryCount },
    readOnlyRootfs: config.readOnlyRootfs,
    dropCapabilities: ["ALL"],
    noNewPrivileges: true,
    init: false,
    logBytes: BigInt(defaults.logBytes),
  };
  return { kind: "allowed", spec };
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

function imageRefusals(config: ContainerConfig, session: SessionConfig): readonly Refusal[] {
  if (imageAllowed(config.image, session.allowedImages)) return [];
  return [
    {
      kind: "denied",
      field: "config.image",
      description: `is "${config.image}"; the session allows ${session.allowedImages.slice(0, 16).join(", ")}`,
    },
  ];
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
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") || last.includes("*") ? image : `${image}:latest`;
}
