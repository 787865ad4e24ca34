import type { FieldViolation } from "../failure.ts";
import { textLength } from "../text-length.ts";
import type { AskedTask } from "./asked-task.ts";

/** The bounds on what callers and workers can send; sizes in bytes, lengths in UTF-16 units. */
export interface TaskLimits {
  /** Tasks that wait for an agent. */
  readonly maxQueued: number;
  /** Of a task's config without its input_data: the characters of all of its texts. */
  readonly maxConfigLength: number;
  readonly maxInputDataBytes: number;
  readonly maxRetries: number;
  /** Of what the result itself holds of output; more is cut, and the result says so. */
  readonly maxResultBytes: number;
}

/** Longer than this makes no sense anywhere, so it is not configured. */
const maxNameLength = 256;
const maxEntries = 1_024;
/** What a number of nanoseconds or bytes may be at most: about 104 days. */
const mostNumber = Number.MAX_SAFE_INTEGER;

/** What is wrong with a task that is asked for; empty when nothing is. */
export function taskViolations(asked: AskedTask, limits: TaskLimits): readonly FieldViolation[] {
  const { config, inputData, name } = asked;
  const violations: FieldViolation[] = [];
  const add = (field: string, description: string) => violations.push({ field, description });
  if (name.length > maxNameLength)
    add("name", `has ${name.length} characters; at most ${maxNameLength} are allowed`);
  const counts = {
    "config.timeout_ns": config.timeoutNs,
    "config.deadline_ns": config.deadlineNs,
    "config.constraints.max_memory_bytes": config.constraints?.maxMemoryBytes ?? 0,
    "config.constraints.max_cpu_ns": config.constraints?.maxCpuNs ?? 0,
    "config.constraints.max_execution_time_ns": config.constraints?.maxExecutionTimeNs ?? 0,
  };
  for (const [field, value] of Object.entries(counts)) {
    if (!(value >= 0 && value <= mostNumber))
      add(field, `is ${value}; 0 (no bound of its own) to ${mostNumber} are allowed`);
  }
  if (!(config.maxRetries >= 0 && config.maxRetries <= limits.maxRetries))
    add("config.max_retries", `is ${config.maxRetries}; 0 to ${limits.maxRetries} are allowed`);
  const lists = {
    "config.arguments": config.arguments.length,
    "config.environment": Object.keys(config.environment).length,
    "config.parameters": Object.keys(config.parameters).length,
    "config.constraints.allowed_operations": config.constraints?.allowedOperations.length ?? 0,
    "config.constraints.denied_operations": config.constraints?.deniedOperations.length ?? 0,
  };
  for (const [field, entries] of Object.entries(lists)) {
    if (entries > maxEntries) add(field, `has ${entries} entries; at most ${maxEntries} are allowed`);
  }
  if (inputData.byteLength > limits.maxInputDataBytes) {
    const most = limits.maxInputDataBytes;
    add("config.input_data", `has ${inputData.byteLength} bytes; at most ${most} are allowed`);
  }
  const length = textLength(config);
  if (length > limits.maxConfigLength) {
    const most = limits.maxConfigLength;
    add("config", `has ${length} characters without its input_data; at most ${most} are allowed`);
  }
  return violations;
}

/** The longest reason of a cancel, and what is kept of a worker's error; UTF-16 units and entries. */
const maxReasonLength = 1_024;
const maxErrorText = 16_384;
const maxErrorLines = 64;
const maxErrorCode = 128;

/** What is wrong with the reason of a cancel; empty when nothing is. */
export function reasonViolations(reason: string, field: string): readonly FieldViolation[] {
  if (reason.length <= maxReasonLength) return [];
  return [{ field, description: `has ${reason.length} characters; at most ${maxReasonLength} are allowed` }];
}

/** A worker's text as far as it is kept; what is cut says so at its end. */
export function cutText(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most).toWellFormed()}...(cut)`;
}

/** A worker's error as far as it is kept. */
export function cutError<
  Error extends {
    readonly code: string;
    readonly message: string;
    readonly details: readonly string[];
    readonly stackTrace: string;
  },
>(error: Error): Error {
  return {
    ...error,
    code: cutText(error.code, maxErrorCode),
    message: cutText(error.message, maxErrorText),
    details: error.details.slice(0, maxErrorLines).map((line) => cutText(line, maxErrorText)),
    stackTrace: cutText(error.stackTrace, maxErrorText),
  };
}

/** What is kept of a worker's words of its result and its progress. */
export function cutMap(map: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(map).slice(0, maxErrorLines);
  return Object.fromEntries(entries.map(([name, value]) => [cutText(name, 256), cutText(value, 4_096)]));
}
