import type { Instant } from "../events/event.ts";
import { Failure, type FieldViolation } from "../failure.ts";
import type { SessionId } from "../sessions/session.ts";
import type { Table } from "../store/table.ts";

export type MessageRole = "user" | "system" | "assistant" | "tool";

export interface Message {
  /** The client's own, or a UUIDv7; unique in its session. */
  readonly id: string;
  readonly sessionId: SessionId;
  /** From 1, without holes in its session. */
  readonly ordinal: number;
  readonly at: Instant;
  readonly role: MessageRole;
  readonly content: string;
  readonly metadata: MessageMetadata;
}

interface MessageMetadata {
  readonly containerId: string;
  readonly toolName: string;
  readonly toolCallId: string;
  readonly extra: Readonly<Record<string, string>>;
}

/** A message as a client sends it. */
export interface Draft {
  /** Empty: the server makes one. */
  readonly id: string;
  readonly role: MessageRole;
  readonly content: string;
  readonly metadata: MessageMetadata;
}

export interface MessageLimits {
  /** Bytes of UTF-8. */
  readonly maxContentBytes: number;
  readonly maxPerSession: number;
}

/** The longest id that a client may give a message, and the longest value of its metadata; in UTF-16 units. */
const maxIdLength = 128;
const maxMetadataLength = 4_096;
const maxExtra = 64;

export const messageTable: Table<Message> = {
  name: "messages",
  bigints: "none",
  key: (message) => messageKey(message.sessionId, message.id),
  columns: { sessionId: (message) => message.sessionId, ordinal: (message) => message.ordinal },
};

export function messageKey(sessionId: SessionId, id: string): string {
  return `${sessionId}/${id}`;
}

/** What is wrong with a draft; empty when nothing is. */
export function draftViolations(draft: Draft, limits: MessageLimits): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  const add = (field: string, description: string) => violations.push({ field, description });
  if (draft.id.length > maxIdLength)
    add("message.id", `has ${draft.id.length} characters; at most ${maxIdLength} are allowed`);
  // It is an id like others: it stands in logs, in terminals and in the paths of tools.
  if (/\p{Cc}/u.test(draft.id)) add("message.id", "has control characters");
  // A UTF-16 unit is at most three bytes of UTF-8, so most messages need no count.
  const bytes = draft.content.length * 3 > limits.maxContentBytes ? Buffer.byteLength(draft.content) : 0;
  if (bytes > limits.maxContentBytes) {
    add("message.content", `has ${bytes} bytes; at most ${limits.maxContentBytes} are allowed`);
  }
  const { containerId, toolName, toolCallId, extra } = draft.metadata;
  const texts = { container_id: containerId, tool_name: toolName, tool_call_id: toolCallId };
  for (const [name, text] of Object.entries(texts)) {
    if (text.length <= maxMetadataLength) continue;
    add(
      `message.metadata.${name}`,
      `has ${text.length} characters; at most ${maxMetadataLength} are allowed`,
    );
  }
  const entries = Object.entries(extra);
  if (entries.length > maxExtra)
    add("message.metadata.extra", `has ${entries.length} entries; at most ${maxExtra} are allowed`);
  const long = entries.find(
    ([name, value]) => name.length > maxMetadataLength || value.length > maxMetadataLength,
  );
  if (long !== undefined) {
    add(`message.metadata.extra["${long[0].slice(0, 64)}"]`, `has over ${maxMetadataLength} characters`);
  }
  return violations;
}

/** The earlier message with the draft's id, if it is the same message. Failures: ALREADY_EXISTS when it is another one. */
export function sameMessage(message: Message, draft: Draft): Message {
  const { role, content, metadata } = message;
  if (
    Bun.deepEquals(
      { role, content, metadata },
      { role: draft.role, content: draft.content, metadata: draft.metadata },
    )
  ) {
    return message;
  }
  throw new Failure(
    "already_exists",
    `Cannot send message "${draft.id}": the session has another message with this id`,
    {
      reason: "MESSAGE_ID_REUSED",
      violations: [{ field: "message.id", description: "must be new for a new message" }],
    },
  );
}
