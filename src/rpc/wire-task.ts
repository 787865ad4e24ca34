import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { invalid } from "../failure.ts";
import {
  type ExecuteTaskRequest,
  type StreamTaskRequest,
  type StreamTaskResponseSchema,
  type TaskErrorSchema,
  TaskPrioritySchema,
  type TaskResultSchema,
  type TaskSchema,
  TaskStateSchema,
  TaskTypeSchema,
  type TaskConfig as WireConfig,
  type TaskError as WireError,
  type TaskFilter as WireFilter,
  TaskPriority as WirePriority,
  type TaskResult as WireResult,
  TaskState as WireState,
  TaskType as WireType,
} from "../gen/proto/agent/v1/agent_pb.ts";
import type { AskedTask } from "../tasks/asked-task.ts";
import type { Piece } from "../tasks/piece.ts";
import {
  agentOf,
  isEnded,
  type TaskConfig,
  type TaskError,
  type TaskPriority,
  type TaskResult,
  type TaskState,
  type TaskType,
} from "../tasks/task.ts";
import type { TaskAnswer, TaskFrame, WorkerResult } from "../tasks/task-frames.ts";
import { expiresAt } from "../tasks/task-rules.ts";
import type { TaskFilter, TaskView } from "../tasks/tasks.ts";
import { instantOf, knownEnum, requiredId, timestamp } from "./wire-values.ts";

const types: Readonly<Record<TaskType, WireType>> = {
  code_execution: WireType.CODE_EXECUTION,
  file_operation: WireType.FILE_OPERATION,
  network_request: WireType.NETWORK_REQUEST,
  data_processing: WireType.DATA_PROCESSING,
  container_operation: WireType.CONTAINER_OPERATION,
  tool_execution: WireType.TOOL_EXECUTION,
  custom: WireType.CUSTOM,
};

const priorities: Readonly<Record<TaskPriority, WirePriority>> = {
  low: WirePriority.LOW,
  normal: WirePriority.NORMAL,
  high: WirePriority.HIGH,
  critical: WirePriority.CRITICAL,
};

const states: Readonly<Record<TaskState, WireState>> = {
  pending: WireState.PENDING,
  queued: WireState.QUEUED,
  running: WireState.RUNNING,
  paused: WireState.PAUSED,
  completed: WireState.COMPLETED,
  failed: WireState.FAILED,
  cancelled: WireState.CANCELLED,
  timeout: WireState.TIMEOUT,
};

export function toWireState(state: TaskState): WireState {
  return states[state];
}

/** What ExecuteTask asks for. */
export function askedTaskOf(request: ExecuteTaskRequest, idempotencyKey: string): AskedTask {
  const type = wordOf(types, knownEnum(TaskTypeSchema, request.type, "type"));
  const priority = wordOf(priorities, knownEnum(TaskPrioritySchema, request.priority, "priority"));
  const violations = [
    ...(type === undefined ? [{ field: "type", description: "is missing; say what the task does" }] : []),
    ...(request.config === undefined
      ? [{ field: "config", description: "is missing; say what is to be done" }]
      : []),
  ];
  if (type === undefined || request.config === undefined) throw invalid("execute a task", violations);
  return {
    name: request.name,
    sessionId: request.sessionId === "" ? "" : requiredId(request.sessionId, "session_id"),
    wantedAgent: request.agentId === "" ? "" : requiredId(request.agentId, "agent_id"),
    type,
    priority: priority ?? "normal",
    config: taskConfigOf(request.config),
    inputData: request.config.inputData,
    idempotencyKey,
  };
}

/** Failures: INVALID_ARGUMENT for values that the enums don't have, and times that are none. */
export function taskFilterOf(agentId: string, wire: WireFilter | undefined): TaskFilter {
  const state = wordOf(states, knownEnum(TaskStateSchema, wire?.state ?? 0, "filter.state"));
  const type = wordOf(types, knownEnum(TaskTypeSchema, wire?.type ?? 0, "filter.type"));
  const priority = wordOf(priorities, knownEnum(TaskPrioritySchema, wire?.priority ?? 0, "filter.priority"));
  const createdAfter = instantOf(wire?.createdAfter, "filter.created_after");
  const createdBefore = instantOf(wire?.createdBefore, "filter.created_before");
  return {
    ...(agentId === "" ? {} : { agentId }),
    ...(state === undefined ? {} : { state }),
    ...(type === undefined ? {} : { type }),
    ...(priority === undefined ? {} : { priority }),
    ...((wire?.sessionId ?? "") === "" ? {} : { sessionId: wire?.sessionId ?? "" }),
    ...(createdAfter === undefined ? {} : { createdAfter }),
    ...(createdBefore === undefined ? {} : { createdBefore }),
  };
}

export function toWireTask(view: TaskView): MessageInitShape<typeof TaskSchema> {
  const { task } = view;
  const { life } = task;
  const startedAt = life.state === "queued" ? null : life.startedAt;
  const expires = expiresAt(task);
  return {
    id: task.id,
    name: task.name,
    sessionId: task.sessionId,
    type: types[task.type],
    state: states[life.state],
    priority: priorities[task.priority],
    createdAt: timestamp(task.createdAt),
    ...(startedAt === null ? {} : { startedAt: timestamp(startedAt) }),
    ...(isEnded(task) ? { completedAt: timestamp(task.life.at) } : {}),
    ...(expires === null ? {} : { expiresAt: timestamp(expires) }),
    config: toWireConfig(task.config, view.inputData),
    ...(life.state === "completed" ? { result: toWireResult(resultOf(life.result, view.result)) } : {}),
    ...("error" in life ? { error: toWireError(life.error) } : {}),
    progress: task.progress,
    agentId: agentOf(task),
    attempt: task.attempt,
    stateReason: view.reason,
    outputBytes: BigInt(view.outputBytes),
    outputKeptBytes: BigInt(view.keptBytes),
    ...(life.state === "queued" && life.notBefore !== null ? { notBefore: timestamp(life.notBefore) } : {}),
  };
}

function toWireError(error: TaskError): MessageInitShape<typeof TaskErrorSchema> {
  const { code, message, details, stackTrace, occurredAt } = error;
  return { code, message, details: [...details], stackTrace, occurredAt: timestamp(occurredAt) };
}

function toWireResult(whole: WorkerResult): MessageInitShape<typeof TaskResultSchema> {
  const { result, outputData, outputText, errorText } = whole;
  return {
    exitCode: result.exitCode,
    ...{ outputData, outputText, errorText },
    metadata: { ...result.metadata },
    ...(result.completedAt === null ? {} : { completedAt: timestamp(result.completedAt) }),
    executionDurationNs: BigInt(result.executionDurationNs),
  };
}

/** What a frame of a task's stream says; `now` stands for times that it leaves out. */
export function taskFrameOf({ payload }: StreamTaskRequest, now: number): TaskFrame {
  switch (payload.case) {
    case undefined:
      return { kind: "none" };
    case "heartbeat":
      return { kind: "heartbeat" };
    case "input": {
      const { data, metadata, end } = payload.value;
      return { kind: "input", data, metadata, isLast: end };
    }
    case "cancel":
      return {
        kind: "cancel",
        reason: payload.value.reason,
        how: payload.value.force ? "force" : "graceful",
      };
    case "progress": {
      const { percent, message, details } = payload.value;
      return { kind: "progress", progress: percent, message, details };
    }
    case "output": {
      const { data, text, streamType } = payload.value;
      return { kind: "output", stream: streamType, data, text };
    }
    case "status": {
      const state = wordOf(states, knownEnum(TaskStateSchema, payload.value.state, "status.state"));
      return { kind: "status", state: state ?? "unspecified", message: payload.value.message };
    }
    case "complete":
      return { kind: "complete", taskId: payload.value.taskId, ...workerResultOf(payload.value.result) };
    case "errorMsg":
      return { kind: "error", error: errorOf(payload.value, now) };
  }
}

/** What a stream of a task says to its client. */
export function toWireAnswer(answer: TaskAnswer): MessageInitShape<typeof StreamTaskResponseSchema> {
  switch (answer.kind) {
    case "output":
      return { payload: outputOf(answer.piece, answer.missing) };
    case "status": {
      const { state, message, at } = answer;
      return {
        payload: { case: "status", value: { state: toWireState(state), message, timestamp: timestamp(at) } },
      };
    }
    case "progress": {
      const { progress, message, details } = answer;
      return {
        payload: { case: "progress", value: { percent: progress, message, details: { ...details } } },
      };
    }
    case "complete": {
      const { taskId, at } = answer;
      return {
        payload: {
          case: "complete",
          value: { taskId, result: toWireResult(answer), completedAt: timestamp(at) },
        },
      };
    }
    case "error":
      return { payload: { case: "error", value: toWireError(answer.error) } };
    case "heartbeat":
      return { payload: { case: "heartbeat", value: {} } };
  }
}

function outputOf(piece: Piece, missing: number) {
  const { data, text, stream, offset, attempt, isLast, metadata } = piece;
  const value = {
    ...{ data, text, streamType: stream, attempt, end: isLast, metadata: { ...metadata } },
    offset: BigInt(offset),
    missingBytes: BigInt(missing),
  };
  return { case: "output" as const, value };
}

/** Milliseconds of a time that a worker gave; what no clock can show counts as not given. */
function timeOf(wire: WireResult["completedAt"]): number | null {
  if (wire === undefined) return null;
  const at = timestampMs(wire);
  return Math.abs(at) <= 8.64e15 ? at : null;
}

function workerResultOf(wire: WireResult | undefined): WorkerResult {
  return {
    result: {
      exitCode: wire?.exitCode ?? 0,
      metadata: wire?.metadata ?? {},
      completedAt: timeOf(wire?.completedAt),
      executionDurationNs: safeNumber(wire?.executionDurationNs ?? 0n),
    },
    outputData: wire?.outputData ?? new Uint8Array(0),
    outputText: wire?.outputText ?? "",
    errorText: wire?.errorText ?? "",
  };
}

function errorOf(wire: WireError, now: number): TaskError {
  const { code, message, details, stackTrace, occurredAt } = wire;
  return { code, message, details, stackTrace, occurredAt: timeOf(occurredAt) ?? now };
}

/** A worker's number: one that is too large to be exact is as large as can be. */
function safeNumber(wire: bigint): number {
  const most = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(wire > most ? most : wire < 0n ? 0n : wire);
}

function resultOf(result: TaskResult, output: TaskView["result"]): WorkerResult {
  return {
    result,
    outputData: Buffer.from(output?.data ?? "", "base64"),
    outputText: output?.outputText ?? "",
    errorText: output?.errorText ?? "",
  };
}

function taskConfigOf(wire: WireConfig): TaskConfig {
  const { constraints } = wire;
  return {
    command: wire.command,
    arguments: wire.arguments,
    environment: wire.environment,
    workingDirectory: wire.workingDirectory,
    timeoutNs: Number(wire.timeoutNs),
    deadlineNs: Number(wire.deadlineNs),
    maxRetries: Number(wire.maxRetries),
    retryOnFailure: wire.retryOnFailure,
    inputDataBytes: wire.inputData.byteLength,
    parameters: wire.parameters,
    constraints:
      constraints === undefined
        ? null
        : {
            maxMemoryBytes: Number(constraints.maxMemoryBytes),
            maxCpuNs: Number(constraints.maxCpuNs),
            maxExecutionTimeNs: Number(constraints.maxExecutionTimeNs),
            allowedOperations: constraints.allowedOperations,
            deniedOperations: constraints.deniedOperations,
          },
  };
}

function toWireConfig(config: TaskConfig, inputData: Uint8Array | undefined) {
  const { constraints } = config;
  return {
    command: config.command,
    arguments: [...config.arguments],
    environment: { ...config.environment },
    workingDirectory: config.workingDirectory,
    timeoutNs: BigInt(config.timeoutNs),
    deadlineNs: BigInt(config.deadlineNs),
    maxRetries: BigInt(config.maxRetries),
    retryOnFailure: config.retryOnFailure,
    ...(inputData === undefined ? {} : { inputData }),
    parameters: { ...config.parameters },
    ...(constraints === null
      ? {}
      : {
          constraints: {
            maxMemoryBytes: BigInt(constraints.maxMemoryBytes),
            maxCpuNs: BigInt(constraints.maxCpuNs),
            maxExecutionTimeNs: BigInt(constraints.maxExecutionTimeNs),
            allowedOperations: [...constraints.allowedOperations],
            deniedOperations: [...constraints.deniedOperations],
          },
        }),
  };
}

/** The word of a value; undefined for what is not set. */
function wordOf<Word extends string, Value>(
  words: Readonly<Record<Word, Value>>,
  value: Value,
): Word | undefined {
  for (const word in words) if (words[word] === value) return word;
  return undefined;
}
