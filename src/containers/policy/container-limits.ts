import type { FieldViolation } from "../../failure.ts";
import { labelViolations, resourceViolations } from "../../sessions/session-limits.ts";
import type { ContainerConfig } from "../container.ts";
import { mountViolations } from "./mount-limits.ts";
import { networkViolations } from "./network-limits.ts";
import { hasNul, pathViolations } from "./path-limits.ts";

/** The bounds on a container's config that are not configured: what the engine or the kernel takes at most, roughly. */
const maxWords = 4_096;
const maxEnv = 4_096;
/** Of command, args and env together, in bytes; the kernel refuses more than 2 MiB at exec. */
const maxArgumentBytes = 2 * 1024 * 1024;
const maxImageLength = 512;
/** Of one word of them, in bytes: Linux's MAX_ARG_STRLEN, with the zero at its end. */
const maxWordBytes = 128 * 1024 - 1;
/** Linux's PID_MAX_LIMIT. */
const maxPids = 4_194_304n;
/** The least memory that Docker makes a container with, in bytes. */
export const leastMemory = 6n * 1024n * 1024n;

export interface ContainerLimits {
  readonly maxContainers: number;
  /** Of one session. */
  readonly maxVolumes: number;
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
    ...imageViolations(config.image, "config.image"),
    ...argumentViolations(config),
    ...pathViolations(config.workingDir, "config.working_dir"),
    ...mountViolations(config.mounts),
    ...networkViolations(config),
    ...labelViolations(config.labels, limits, "config.labels"),
    ...ownLabelViolations(config.labels),
    ...resourceViolations(config.limits, "config.resource_limits"),
    ...sizeViolations(config.limits),
    ...restartViolations(config.restart),
  ];
}

/** What is wrong with an image's name as such. */
export function imageViolations(image: string, field: string): readonly FieldViolation[] {
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
  const long = [...config.command, ...config.args, ...env.map(([name, value]) => `${name}=${value}`)].find(
    (word) => Buffer.byteLength(word) > maxWordBytes,
  );
  if (long !== undefined) {
    const field = config.command.includes(long)
      ? "config.command"
      : config.args.includes(long)
        ? "config.args"
        : "config.env";
    const description = `has a word of ${Buffer.byteLength(long)} bytes; at most ${maxWordBytes} are allowed`;
    violations.push({ field, description });
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

function ownLabelViolations(labels: Readonly<Record<string, string>>): readonly FieldViolation[] {
  return Object.keys(labels)
    .filter((name) => name.startsWith("baaaht."))
    .map((name) => ({
      field: `config.labels["${name.slice(0, 64)}"]`,
      description: "begins with baaaht., which is the server's",
    }));
}

/** Memory and swap are counted together. */
function sizeViolations({
  memoryBytes,
  memorySwap,
  pidsLimit,
}: ContainerConfig["limits"]): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (memoryBytes > 0n && memoryBytes < leastMemory) {
    const description = `is ${memoryBytes}; the engine needs at least ${leastMemory} (6 MiB)`;
    violations.push({ field: "config.resource_limits.memory_bytes", description });
  }
  if (memorySwap > 0n && memoryBytes === 0n && memorySwap < leastMemory) {
    const description = `is ${memorySwap}; it includes the memory, of which the engine needs at least ${leastMemory} (6 MiB)`;
    violations.push({ field: "config.resource_limits.memory_swap", description });
  }
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
