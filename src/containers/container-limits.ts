import type { FieldViolation } from "../failure.ts";
import { labelViolations, resourceViolations } from "../sessions/session-limits.ts";
import type { ContainerConfig } from "./container.ts";

/** The bounds on a container's config that are not configured: what the engine or the kernel takes at most, roughly. */
const maxWords = 4_096;
const maxEnv = 4_096;
/** Of command, args and env together, in bytes; the kernel refuses more than 2 MiB at exec. */
const maxArgumentBytes = 2 * 1024 * 1024;
const maxImageLength = 512;
const maxPathLength = 4_096;
const maxMounts = 64;
/** Linux's PID_MAX_LIMIT. */
const maxPids = 4_194_304n;

export interface ContainerLimits {
  readonly maxContainers: number;
  readonly maxLabels: number;
  readonly maxLabelKeyLength: number;
  readonly maxLabelValueLength: number;
}

/** What is wrong with a config as such, whatever the policy is; empty when nothing is. */
export function configViolations(
  config: ContainerConfig,
  limits: ContainerLimits,
): readonly FieldViolation[] {
  return [
    ...imageViolations(config.image),
    ...argumentViolations(config),
    ...pathViolations(config.workingDir, "config.working_dir"),
    ...mountViolations(config.mounts),
    ...labelViolations(config.labels, limits, "config.labels"),
    ...ownLabelViolations(config.labels),
    ...resourceViolations(config.limits, "config.resource_limits"),
    ...swapViolations(config.limits),
    ...restartViolations(config.restart),
  ];
}

function imageViolations(image: string): readonly FieldViolation[] {
  const field = "config.image";
  if (image === "") return [{ field, description: "is empty; name an image, such as python:3.11" }];
  if (image.length > maxImageLength) {
    return [{ field, description: `has ${image.length} characters; at most ${maxImageLength} are allowed` }];
  }
  if (!/^[a-zA-Z0-9][a-zA-Z0-9._\-/:@]*$/.test(image)) {
    return [{ field, description: `is "${image.slice(0, 64)}", which is not an image reference` }];
  }
  const digest = image.split("@")[1];
  if (digest !== undefined && !/^[a-z0-9]+:[0-9a-f]{32,}$/.test(digest)) {
    return [{ field, description: `has "${digest.slice(0, 80)}" behind its @, which is not a digest` }];
  }
  return [];
}

function argumentViolations(config: ContainerConfig): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  for (const name of ["command", "args"] as const) {
    const words = config[name];
    const field = `config.${name}`;
    if (words.length > maxWords)
      violations.push({ field, description: `has ${words.length} words; at most ${maxWords} are allowed` });
    if (words.some(hasNul)) violations.push({ field, description: "has a NUL character" });
  }
  if (config.command[0] === "")
    violations.push({ field: "config.command", description: "has an empty program name" });
  const env = Object.entries(config.env);
  if (env.length > maxEnv) {
    violations.push({
      field: "config.env",
      description: `has ${env.length} entries; at most ${maxEnv} are allowed`,
    });
  }
  if (env.some(([name, value]) => name === "" || name.includes("=") || hasNul(name) || hasNul(value))) {
    violations.push({
      field: "config.env",
      description: "has a name that is empty or has '=' in it, or a NUL character",
    });
  }
  const bytes = [...config.command, ...config.args, ...env.flat()].reduce(
    (sum, word) => sum + Buffer.byteLength(word),
    0,
  );
  if (bytes > maxArgumentBytes) {
    violations.push({
      field: "config",
      description: `has ${bytes} bytes of command, args and env; at most ${maxArgumentBytes} are allowed`,
    });
  }
  return violations;
}

function mountViolations(mounts: ContainerConfig["mounts"]): readonly FieldViolation[] {
  if (mounts.length > maxMounts) {
    const description = `has ${mounts.length} entries; at most ${maxMounts} are allowed`;
    return [{ field: "config.mounts", description }];
  }
  return mounts.flatMap(({ source, target }, index) => {
    const at = `config.mounts[${index}]`;
    const violations = [...pathViolations(target, `${at}.target`)];
    if (/^\/+$/.test(target)) violations.push({ field: `${at}.target`, description: "is the root" });
    if (target === "") violations.push({ field: `${at}.target`, description: "is empty; name a path" });
    if (source.length > maxPathLength || hasNul(source))
      violations.push({ field: `${at}.source`, description: "is too long or has a NUL character" });
    return violations;
  });
}

function pathViolations(path: string, field: string): readonly FieldViolation[] {
  if (path === "") return [];
  if (!path.startsWith("/"))
    return [{ field, description: `is "${path.slice(0, 64)}", which is not an absolute path` }];
  if (path.length > maxPathLength || hasNul(path))
    return [{ field, description: "is too long or has a NUL character" }];
  return [];
}

function ownLabelViolations(labels: Readonly<Record<string, string>>): readonly FieldViolation[] {
  return Object.keys(labels)
    .filter((name) => name.startsWith("baaaht."))
    .map((name) => ({
      field: `config.labels["${name.slice(0, 64)}"]`,
      description: "begins with baaaht., which is the server's",
    }));
}

/** Memory and swap are counted together. */
function swapViolations({
  memoryBytes,
  memorySwap,
  pidsLimit,
}: ContainerConfig["limits"]): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (memorySwap > 0n && memorySwap < memoryBytes) {
    const description = `is ${memorySwap}, less than memory_bytes (${memoryBytes}), which it includes`;
    violations.push({ field: "config.resource_limits.memory_swap", description });
  }
  if (pidsLimit > maxPids) {
    const description = `is ${pidsLimit}; at most ${maxPids} are allowed`;
    violations.push({ field: "config.resource_limits.pids_limit", description });
  }
  return violations;
}

function restartViolations(restart: ContainerConfig["restart"]): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (!["", "no", "on-failure", "always", "unless-stopped"].includes(restart.name)) {
    violations.push({
      field: "config.restart_policy.name",
      description: `is "${restart.name.slice(0, 64)}"; no, on-failure, always and unless-stopped are allowed`,
    });
  }
  if (restart.maximumRetryCount < 0) {
    violations.push({ field: "config.restart_policy.maximum_retry_count", description: "can't be negative" });
  }
  if (restart.maximumRetryCount > 0 && restart.name !== "on-failure") {
    const description = `is ${restart.maximumRetryCount}; it goes with the name on-failure only`;
    violations.push({ field: "config.restart_policy.maximum_retry_count", description });
  }
  if (restart.timeoutNs < 0n) {
    violations.push({ field: "config.restart_policy.timeout_ns", description: "can't be negative" });
  }
  return violations;
}

function hasNul(text: string): boolean {
  return text.includes("\0");
}
