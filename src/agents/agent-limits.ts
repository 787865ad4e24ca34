import type { Usage } from "../containers/usage.ts";
import type { FieldViolation } from "../failure.ts";
import { labelViolations, resourceViolations, type SessionLimits } from "../sessions/session-limits.ts";
import { textLength } from "../text-length.ts";
import type { AgentCapabilities, AgentMetadata } from "./agent.ts";

/** The bounds on agents; lengths in UTF-16 units, sizes in bytes. */
export interface AgentLimits {
  /** Live ones. */
  readonly maxAgents: number;
  /** Of the texts of one registration together, in UTF-16 units. */
  readonly maxRegistrationLength: number;
  readonly labels: Pick<SessionLimits, "maxLabels" | "maxLabelKeyLength" | "maxLabelValueLength">;
}

/** Longer texts and lists than these make no sense anywhere, so they are not configured. */
const maxNameLength = 256;
const maxWordLength = 128;
const maxWords = 256;
const maxDescriptionLength = 4_096;
const maxTasks = 100_000;
const maxReasonLength = 1_024;
const maxActiveTasks = 1_000;

/** What an agent says of itself when it registers. */
export interface Registration {
  readonly name: string;
  readonly metadata: AgentMetadata;
  readonly capabilities: AgentCapabilities;
}

/** What is wrong with a registration; empty when nothing is. */
export function registrationViolations(
  { name, metadata, capabilities }: Registration,
  limits: AgentLimits,
): readonly FieldViolation[] {
  const violations = [
    ...nameViolations(name),
    ...textViolations("metadata.version", metadata.version, maxNameLength),
    ...textViolations("metadata.description", metadata.description, maxDescriptionLength),
    ...labelViolations(metadata.labels, limits.labels, "metadata.labels"),
    ...textViolations("metadata.owner_id", metadata.ownerId, maxNameLength),
    ...wordsViolations("metadata.tags", metadata.tags, maxWords),
    ...textViolations("metadata.hostname", metadata.hostname, maxNameLength),
    ...textViolations("metadata.pid", metadata.pid, maxWordLength),
    ...wordsViolations("capabilities.supported_tasks", capabilities.supportedTasks, maxWords),
    ...wordsViolations("capabilities.supported_tools", capabilities.supportedTools, maxWords),
    ...wordsViolations("capabilities.supported_protocols", capabilities.supportedProtocols, maxWords),
    ...resourceViolations(capabilities.limits, "capabilities.resource_limits"),
  ];
  const tasks = capabilities.maxConcurrentTasks;
  if (tasks < 0 || tasks > maxTasks) {
    const description = `is ${tasks}; 0 (which means 1) to ${maxTasks} are allowed`;
    violations.push({ field: "capabilities.max_concurrent_tasks", description });
  }
  const length = textLength([name, metadata, capabilities]);
  if (violations.length === 0 && length > limits.maxRegistrationLength) {
    const description = `and the rest have ${length} characters together; at most ${limits.maxRegistrationLength} are allowed`;
    violations.push({ field: "metadata", description });
  }
  return violations;
}

/** What an agent says with a sign of life. */
export interface Report {
  readonly usage: Usage | undefined;
  readonly activeTasks: readonly string[];
  /** Whether it takes further tasks, or begins none for now. */
  readonly takesTasks: boolean;
}

/** What is wrong with a report; empty when nothing is. */
export function reportViolations({ usage, activeTasks }: Report): readonly FieldViolation[] {
  const violations = [...wordsViolations("active_tasks", activeTasks, maxActiveTasks)];
  const shares = { cpu_percent: usage?.cpuPercent, memory_percent: usage?.memoryPercent };
  const counts = {
    memory_usage: usage?.memoryBytes,
    memory_limit: usage?.memoryLimitBytes,
    network_rx: usage?.networkRxBytes,
    network_tx: usage?.networkTxBytes,
    block_read: usage?.blockReadBytes,
    block_write: usage?.blockWriteBytes,
    pids_count: usage?.pids,
  };
  for (const [name, value = 0] of Object.entries({ ...shares, ...counts })) {
    if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) continue;
    const description = `is ${value}; 0 to ${Number.MAX_SAFE_INTEGER} are allowed`;
    violations.push({ field: `resources.${name}`, description });
  }
  return violations;
}

function nameViolations(name: string): readonly FieldViolation[] {
  if (name.trim() === "") return [{ field: "name", description: "is missing; name the agent" }];
  return textViolations("name", name, maxNameLength);
}

/** What is wrong with a reason; empty when nothing is. */
export function reasonViolations(reason: string): readonly FieldViolation[] {
  return textViolations("reason", reason, maxReasonLength);
}

function textViolations(field: string, text: string, most: number): readonly FieldViolation[] {
  if (text.length > most) {
    return [{ field, description: `has ${text.length} characters; at most ${most} are allowed` }];
  }
  // It stands in logs and in terminals. Line ends and tabs are for descriptions.
  return /[^\P{Cc}\t\n\r]/u.test(text) ? [{ field, description: "has control characters" }] : [];
}

function wordsViolations(field: string, words: readonly string[], most: number): readonly FieldViolation[] {
  if (words.length > most) {
    return [{ field, description: `has ${words.length} entries; at most ${most} are allowed` }];
  }
  return words.flatMap((word, index) =>
    word === ""
      ? [{ field: `${field}[${index}]`, description: "is empty" }]
      : textViolations(`${field}[${index}]`, word, maxWordLength),
  );
}
