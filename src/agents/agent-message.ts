import type { Instant } from "../events/event.ts";
import type { FieldViolation } from "../failure.ts";

/** What an AgentMessage is. */
export type AgentMessageType =
  | "task_request"
  | "task_response"
  | "task_update"
  | "control"
  | "data"
  | "event"
  | "heartbeat"
  | "error";

export type ControlCommand = "pause" | "resume" | "cancel" | "shutdown" | "restart" | "status";

/** Where a message says that a task is in its life. */
export type TaskStateWord =
  | "unspecified"
  | "pending"
  | "queued"
  | "running"
  | "paused"
  | "completed"
  | "failed"
  | "cancelled"
  | "timeout";

/** One message on its way from one end of a line to another. It is not kept: it is passed on at once, or refused. */
export interface AgentMessage {
  /** The sender's own, or a UUIDv7. */
  readonly id: string;
  readonly type: AgentMessageType;
  /** As the sender says, or when it came in. */
  readonly at: Instant;
  /** An agent's id, `orchestrator`, or empty: somebody who can't be answered. */
  readonly sourceId: string;
  /** An agent's id or `orchestrator`. */
  readonly targetId: string;
  readonly payload: MessagePayload;
  readonly metadata: AgentMessageMetadata;
}

/** A message as its sender has made it: what is absent is the server's to set. */
export type AgentMessageDraft = Omit<AgentMessage, "at"> & { readonly at: Instant | undefined };

interface AgentMessageMetadata {
  readonly correlationId: string;
  readonly sessionId: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly priority: number;
}

export type MessagePayload =
  | { readonly kind: "none" }
  | {
      readonly kind: "task";
      readonly taskId: string;
      readonly sessionId: string;
      readonly state: TaskStateWord;
      /** 0 to 1. */
      readonly progress: number;
      readonly statusMessage: string;
      readonly output: Uint8Array;
    }
  | {
      readonly kind: "control";
      readonly command: ControlCommand;
      readonly parameters: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "data";
      readonly contentType: string;
      readonly data: Uint8Array;
      readonly headers: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "event";
      readonly eventType: string;
      readonly source: string;
      readonly data: Readonly<Record<string, string>>;
    };

/** The server itself, as a message's source or target. */
export const orchestrator = "orchestrator";

/** Longer ids, texts and maps than these make no sense anywhere, so they are not configured. In UTF-16 units. */
const maxIdLength = 128;
const maxTextLength = 4_096;
const maxEntries = 64;

/** What an object with the fields of a message takes beside what is in them, in bytes. */
const fixedBytes = 512;

/** Which payload each type carries; those that are absent may have any or none. */
const payloads: Readonly<Partial<Record<AgentMessageType, MessagePayload["kind"]>>> = {
  task_request: "task",
  task_response: "task",
  task_update: "task",
  control: "control",
  data: "data",
  event: "event",
};

/** The wire's names of the payloads. */
const payloadFields: Readonly<Record<Exclude<MessagePayload["kind"], "none">, string>> = {
  task: "task_message",
  control: "control_message",
  data: "data_message",
  event: "event_message",
};

/** What is wrong with a message; empty when nothing is. */
export function messageViolations(message: AgentMessageDraft): readonly FieldViolation[] {
  const { id, sourceId, targetId, metadata } = message;
  return [
    ...idViolations("message.id", id),
    ...idViolations("message.source_id", sourceId),
    ...idViolations("message.target_id", targetId),
    ...idViolations("message.metadata.correlation_id", metadata.correlationId),
    ...idViolations("message.metadata.session_id", metadata.sessionId),
    ...mapViolations("message.metadata.headers", metadata.headers),
    ...payloadViolations(message),
  ];
}

/** The message that goes from one end to the other. */
export function completeMessage(
  draft: AgentMessageDraft,
  { at, sourceId, targetId }: Pick<AgentMessage, "at" | "sourceId" | "targetId">,
): AgentMessage {
  const id = draft.id === "" ? Bun.randomUUIDv7() : draft.id;
  return { ...draft, id, at: draft.at ?? at, sourceId, targetId };
}

/** About what a message takes in memory, in bytes. */
export function messageBytes({ id, sourceId, targetId, payload, metadata }: AgentMessage): number {
  const ids = id.length + sourceId.length + targetId.length + metadata.correlationId.length;
  const bytes = fixedBytes + 2 * (ids + metadata.sessionId.length) + mapBytes(metadata.headers);
  switch (payload.kind) {
    case "none":
      return bytes;
    case "task":
      return bytes + payload.output.byteLength + 2 * payload.statusMessage.length;
    case "control":
      return bytes + mapBytes(payload.parameters);
    case "data":
      return bytes + payload.data.byteLength + mapBytes(payload.headers);
    case "event":
      return bytes + mapBytes(payload.data);
  }
}

function payloadViolations({ type, payload }: AgentMessageDraft): readonly FieldViolation[] {
  const wanted = payloads[type];
  if (wanted !== undefined && wanted !== "none" && payload.kind !== wanted) {
    const description = `is missing; a message of this type carries it`;
    return [{ field: `message.${payloadFields[wanted]}`, description }];
  }
  switch (payload.kind) {
    case "none":
    case "control":
      return payload.kind === "none"
        ? []
        : mapViolations("message.control_message.parameters", payload.parameters);
    case "task":
      return taskViolations(payload);
    case "data":
      return [
        ...textViolations("message.data_message.content_type", payload.contentType),
        ...mapViolations("message.data_message.headers", payload.headers),
      ];
    case "event":
      return [
        ...textViolations("message.event_message.event_type", payload.eventType),
        ...textViolations("message.event_message.source", payload.source),
        ...mapViolations("message.event_message.data", payload.data),
      ];
  }
}

function taskViolations(task: Extract<MessagePayload, { readonly kind: "task" }>): readonly FieldViolation[] {
  const violations = [
    ...idViolations("message.task_message.task_id", task.taskId),
    ...idViolations("message.task_message.session_id", task.sessionId),
    ...textViolations("message.task_message.status_message", task.statusMessage),
  ];
  if (task.taskId === "") {
    violations.push({ field: "message.task_message.task_id", description: "is missing; name the task" });
  }
  if (!(task.progress >= 0 && task.progress <= 1)) {
    const description = `is ${task.progress}; 0 to 1 are allowed`;
    violations.push({ field: "message.task_message.progress", description });
  }
  return violations;
}

function idViolations(field: string, id: string): FieldViolation[] {
  if (id.length > maxIdLength) {
    return [{ field, description: `has ${id.length} characters; at most ${maxIdLength} are allowed` }];
  }
  return /\p{Cc}/u.test(id) ? [{ field, description: "has control characters" }] : [];
}

function textViolations(field: string, text: string): FieldViolation[] {
  if (text.length <= maxTextLength) return [];
  return [{ field, description: `has ${text.length} characters; at most ${maxTextLength} are allowed` }];
}

function mapViolations(field: string, map: Readonly<Record<string, string>>): FieldViolation[] {
  const entries = Object.entries(map);
  if (entries.length > maxEntries) {
    return [{ field, description: `has ${entries.length} entries; at most ${maxEntries} are allowed` }];
  }
  const long = entries.find(([name, value]) => name.length > maxTextLength || value.length > maxTextLength);
  if (long === undefined) return [];
  return [
    { field: `${field}["${long[0].slice(0, 64)}"]`, description: `has over ${maxTextLength} characters` },
  ];
}

function mapBytes(map: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const name in map) bytes += 32 + 2 * (name.length + (map[name]?.length ?? 0));
  return bytes;
}
