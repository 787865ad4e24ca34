import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AgentMessage,
  AgentMessageDraft,
  AgentMessageType,
  ControlCommand,
  MessagePayload,
  TaskStateWord,
} from "../agents/agent-message.ts";
import { invalid } from "../failure.ts";
import {
  type AgentMessageSchema,
  ControlCommandSchema,
  MessageTypeSchema,
  type TaskSchema,
  TaskStateSchema,
  ControlCommand as WireCommand,
  type AgentMessage as WireMessage,
  TaskState as WireTaskState,
  MessageType as WireType,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { instantOf, knownEnum, timestamp } from "./wire-values.ts";

const wireTypes: Readonly<Record<AgentMessageType, WireType>> = {
  task_request: WireType.TASK_REQUEST,
  task_response: WireType.TASK_RESPONSE,
  task_update: WireType.TASK_UPDATE,
  control: WireType.CONTROL,
  data: WireType.DATA,
  event: WireType.EVENT,
  heartbeat: WireType.HEARTBEAT,
  error: WireType.ERROR,
};

const wireCommands: Readonly<Record<ControlCommand, WireCommand>> = {
  pause: WireCommand.PAUSE,
  resume: WireCommand.RESUME,
  cancel: WireCommand.CANCEL,
  shutdown: WireCommand.SHUTDOWN,
  restart: WireCommand.RESTART,
  status: WireCommand.STATUS,
};

const wireTaskStates: Readonly<Record<TaskStateWord, WireTaskState>> = {
  unspecified: WireTaskState.UNSPECIFIED,
  pending: WireTaskState.PENDING,
  queued: WireTaskState.QUEUED,
  running: WireTaskState.RUNNING,
  paused: WireTaskState.PAUSED,
  completed: WireTaskState.COMPLETED,
  failed: WireTaskState.FAILED,
  cancelled: WireTaskState.CANCELLED,
  timeout: WireTaskState.TIMEOUT,
};

const types = wordsByNumber(wireTypes);
const commands = wordsByNumber(wireCommands);
const taskStates = wordsByNumber(wireTaskStates);

/** A message as it came in. Failures: INVALID_ARGUMENT when it is missing, or an enum value is unknown. */
export function agentMessageOf(wire: WireMessage | undefined): AgentMessageDraft {
  if (wire === undefined) throw invalid("take a message", [{ field: "message", description: "is missing" }]);
  const { correlationId = "", sessionId = "", headers = {}, priority = 0 } = wire.metadata ?? {};
  return {
    id: wire.id,
    type: word(types, wire.type, { schema: MessageTypeSchema, field: "message.type" }),
    at: instantOf(wire.timestamp, "message.timestamp"),
    sourceId: wire.sourceId,
    targetId: wire.targetId,
    payload: payloadOf(wire.payload),
    metadata: { correlationId, sessionId, headers, priority },
  };
}

/** @param task goes along with a message about it */
export function toWireAgentMessage(
  message: AgentMessage,
  task?: MessageInitShape<typeof TaskSchema>,
): MessageInitShape<typeof AgentMessageSchema> {
  return {
    id: message.id,
    type: wireTypes[message.type],
    timestamp: timestamp(message.at),
    sourceId: message.sourceId,
    targetId: message.targetId,
    payload: toWirePayload(message.payload, task),
    metadata: { ...message.metadata, headers: { ...message.metadata.headers } },
  };
}

function payloadOf(wire: WireMessage["payload"]): MessagePayload {
  switch (wire.case) {
    case "taskMessage": {
      const { taskId, sessionId, progress, statusMessage, output } = wire.value;
      const state = word(taskStates, wire.value.state, {
        schema: TaskStateSchema,
        field: "message.task_message.state",
      });
      return { kind: "task", taskId, sessionId, state, progress, statusMessage, output };
    }
    case "controlMessage": {
      const command = word(commands, wire.value.command, {
        schema: ControlCommandSchema,
        field: "message.control_message.command",
      });
      return { kind: "control", command, parameters: wire.value.parameters };
    }
    case "dataMessage": {
      const { contentType, data, headers } = wire.value;
      return { kind: "data", contentType, data, headers };
    }
    case "eventMessage": {
      const { eventType, source, data } = wire.value;
      return { kind: "event", eventType, source, data };
    }
    case undefined:
      return { kind: "none" };
  }
}

function toWirePayload(
  payload: MessagePayload,
  task: MessageInitShape<typeof TaskSchema> | undefined,
): NonNullable<MessageInitShape<typeof AgentMessageSchema>["payload"]> {
  switch (payload.kind) {
    case "none":
      return { case: undefined };
    case "task": {
      const { kind: _, state, ...rest } = payload;
      const all = task === undefined ? {} : { task };
      return { case: "taskMessage", value: { ...rest, state: wireTaskStates[state], ...all } };
    }
    case "control": {
      const { command, parameters } = payload;
      return {
        case: "controlMessage",
        value: { command: wireCommands[command], parameters: { ...parameters } },
      };
    }
    case "data": {
      const { contentType, data, headers } = payload;
      return { case: "dataMessage", value: { contentType, data, headers: { ...headers } } };
    }
    case "event": {
      const { eventType, source, data } = payload;
      return { case: "eventMessage", value: { eventType, source, data: { ...data } } };
    }
  }
}

function wordsByNumber<Word extends string>(
  numbers: Readonly<Record<Word, number>>,
): ReadonlyMap<number, Word> {
  // The names are the keys of the record, which are all words.
  return new Map(Object.entries<number>(numbers).map(([name, number]) => [number, name as Word]));
}

/** The domain's word for a value. Failures: INVALID_ARGUMENT when it has none. */
function word<Word extends string>(
  words: ReadonlyMap<number, Word>,
  wire: number,
  { schema, field }: { readonly schema: Parameters<typeof knownEnum>[0]; readonly field: string },
): Word {
  knownEnum(schema, wire, field);
  const found = words.get(wire);
  if (found !== undefined) return found;
  const names = schema.values.filter(({ number }) => number !== 0).map(({ name }) => name);
  throw invalid("take a message", [
    { field, description: `is missing; one of ${names.join(", ")} is allowed` },
  ]);
}
