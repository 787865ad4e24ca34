import { type FieldViolation, invalid } from "../failure.ts";
import type { ResourceLimits, Session, SessionConfig, SessionMetadata, SessionPolicy } from "./session.ts";

/** The bounds on what a client can ask of a session; lengths in UTF-16 units, counts in entries. */
export interface SessionLimits {
  readonly maxSessions: number;
  readonly maxNameLength: number;
  readonly maxDescriptionLength: number;
  readonly maxLabels: number;
  readonly maxLabelKeyLength: number;
  readonly maxLabelValueLength: number;
  readonly maxTags: number;
  readonly maxTagLength: number;
  readonly defaultMaxContainers: number;
  readonly maxContainers: number;
  readonly defaultIdleTimeoutMs: number;
  readonly defaultMaxDurationMs: number;
}

/** Longer lists and texts than these make no sense anywhere, so they are not configured. */
const maxListEntries = 256;
const maxTextLength = 4_096;
const maxWordLength = 256;
const maxTaskHistory = 1_000;

/** What is wrong with a session's metadata and config; `fields` name where in the request they stand. */
export function sessionViolations(
  wanted: { readonly metadata: SessionMetadata; readonly config: SessionConfig },
  limits: SessionLimits,
  fields: { readonly metadata: string; readonly config: string },
): readonly FieldViolation[] {
  return [
    ...metadataViolations(wanted.metadata, limits, fields.metadata),
    ...configViolations(wanted.config, limits, fields.config),
  ];
}

/** What is wrong with what clients keep in a session for themselves. */
export function contextViolations(
  { preferences, currentTaskId, taskHistory }: Pick<Session, "preferences" | "currentTaskId" | "taskHistory">,
  at: string,
): readonly FieldViolation[] {
  return [
    ...tooLong(`${at}.preferences.timezone`, preferences.timezone, maxWordLength),
    ...tooLong(`${at}.preferences.language`, preferences.language, maxWordLength),
    ...tooLong(`${at}.preferences.theme`, preferences.theme, maxWordLength),
    ...tooLong(`${at}.current_task_id`, currentTaskId, maxWordLength),
    ...listViolations(`${at}.task_history`, taskHistory, { entries: maxTaskHistory, length: maxWordLength }),
  ];
}

/** Failures: INVALID_ARGUMENT naming every field that is wrong, when one is. */
export function refuse(doing: string, violations: readonly FieldViolation[]): void {
  if (violations.length > 0) throw invalid(doing, violations);
}

/** The rules for labels, wherever they are. */
export function labelViolations(
  labels: Readonly<Record<string, string>>,
  limits: Pick<SessionLimits, "maxLabels" | "maxLabelKeyLength" | "maxLabelValueLength">,
  field: string,
): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  const names = Object.keys(labels);
  if (names.length > limits.maxLabels) {
    violations.push({
      field,
      description: `has ${names.length} entries; at most ${limits.maxLabels} are allowed`,
    });
  }
  for (const name of names.slice(0, limits.maxLabels)) {
    if (name === "" || name.length > limits.maxLabelKeyLength) {
      const description = `has a key of ${name.length} characters; 1 to ${limits.maxLabelKeyLength} are allowed`;
      violations.push({ field, description });
    }
    violations.push(
      ...tooLong(`${field}["${name.slice(0, 64)}"]`, labels[name] ?? "", limits.maxLabelValueLength),
    );
  }
  return violations;
}

function metadataViolations(
  metadata: SessionMetadata,
  limits: SessionLimits,
  at: string,
): readonly FieldViolation[] {
  return [
    ...tooLong(`${at}.name`, metadata.name, limits.maxNameLength),
    ...tooLong(`${at}.description`, metadata.description, limits.maxDescriptionLength),
    ...tooLong(`${at}.owner_id`, metadata.ownerId, limits.maxNameLength),
    ...labelViolations(metadata.labels, limits, `${at}.labels`),
    ...listViolations(`${at}.tags`, metadata.tags, { entries: limits.maxTags, length: limits.maxTagLength }),
  ];
}

function configViolations(
  config: SessionConfig,
  limits: SessionLimits,
  at: string,
): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (config.maxContainers < 0 || config.maxContainers > limits.maxContainers) {
    violations.push({
      field: `${at}.max_containers`,
      description: `is ${config.maxContainers}; 0 (the default) to ${limits.maxContainers} are allowed`,
    });
  }
  violations.push(...negative(`${at}.max_duration_ns`, config.maxDurationNs));
  violations.push(...negative(`${at}.idle_timeout_ns`, config.idleTimeoutNs));
  violations.push(...resourceViolations(config.limits, `${at}.resource_limits`));
  violations.push(...listViolations(`${at}.allowed_images`, config.allowedImages, textList));
  violations.push(...policyViolations(config.policy, `${at}.policy`));
  return violations;
}

const textList = { entries: maxListEntries, length: maxTextLength };

/** The rules for resource limits, of sessions and of containers. */
export function resourceViolations(limits: ResourceLimits, at: string): readonly FieldViolation[] {
  return [
    ...negative(`${at}.nano_cpu`, limits.nanoCpu),
    ...negative(`${at}.memory_bytes`, limits.memoryBytes),
    // -1 is the engine's word for swap without end.
    ...(limits.memorySwap === -1n ? [] : negative(`${at}.memory_swap`, limits.memorySwap)),
    ...negative(`${at}.pids_limit`, limits.pidsLimit),
  ];
}

function policyViolations(policy: SessionPolicy, at: string): readonly FieldViolation[] {
  const violations = [
    ...listViolations(`${at}.allowed_networks`, policy.allowedNetworks, textList),
    ...listViolations(`${at}.allowed_paths`, policy.allowedPaths, textList),
  ];
  for (const path of policy.allowedPaths) {
    if (path.startsWith("/")) continue;
    violations.push({
      field: `${at}.allowed_paths`,
      description: `has "${path.slice(0, 64)}", which is not an absolute path`,
    });
  }
  return violations;
}

function listViolations(
  field: string,
  list: readonly string[],
  bound: { readonly entries: number; readonly length: number },
): readonly FieldViolation[] {
  if (list.length > bound.entries) {
    return [{ field, description: `has ${list.length} entries; at most ${bound.entries} are allowed` }];
  }
  return list.flatMap((entry, index) => tooLong(`${field}[${index}]`, entry, bound.length));
}

function tooLong(field: string, text: string, most: number): readonly FieldViolation[] {
  if (text.length <= most) return [];
  return [{ field, description: `has ${text.length} characters; at most ${most} are allowed` }];
}

function negative(field: string, value: bigint): readonly FieldViolation[] {
  return value < 0n
    ? [{ field, description: `is ${value}; it can't be negative (0 means the default)` }]
    : [];
}

/** A config with the server's defaults where it asks for nothing. */
export function withDefaults(config: SessionConfig, limits: SessionLimits): SessionConfig {
  const ns = (milliseconds: number) => BigInt(milliseconds) * 1_000_000n;
  return {
    ...config,
    maxContainers: config.maxContainers === 0 ? limits.defaultMaxContainers : config.maxContainers,
    idleTimeoutNs: config.idleTimeoutNs === 0n ? ns(limits.defaultIdleTimeoutMs) : config.idleTimeoutNs,
    maxDurationNs: config.maxDurationNs === 0n ? ns(limits.defaultMaxDurationMs) : config.maxDurationNs,
  };
}
