import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import {
  type Message,
  MessageRole,
  type MessageSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { ToolCall, ToolResult } from "./provider.ts";
import type { ToolOutcome } from "./tools.ts";

/** What `extra.tool` says of a TOOL message: it is a call, with the input as JSON, or its result. */
const KIND = "tool";

/** What `extra.question_id` says of it: the message that it was done for. */
const QUESTION = "question_id";

/** Where a TOOL message belongs. */
export interface ToolPlace {
  /** The question's. */
  readonly messageId: string;
  /** How much of the answer's text comes before it, bytes of UTF-8. */
  readonly answerBytes: number;
}

/** A call as it is stored before it is done. */
export function callMessage(call: ToolCall, place: ToolPlace): MessageInitShape<typeof MessageSchema> {
  return {
    id: Bun.randomUUIDv7(),
    role: MessageRole.TOOL,
    content: typeof call.input === "string" ? call.input : JSON.stringify(call.input),
    metadata: {
      toolName: call.name,
      toolCallId: call.id,
      extra: { [KIND]: "call", ...placeWords(place) },
    },
  };
}

/** What it has come to. */
export function resultMessage(
  call: ToolCall,
  outcome: ToolOutcome,
  place: ToolPlace,
): MessageInitShape<typeof MessageSchema> {
  return {
    id: Bun.randomUUIDv7(),
    role: MessageRole.TOOL,
    content: outcome.text,
    metadata: {
      toolName: call.name,
      toolCallId: call.id,
      containerId: outcome.containerId,
      extra: {
        [KIND]: "result",
        failed: String(outcome.isFailure),
        ...placeWords(place),
      },
    },
  };
}

/** The call that a message stands for; undefined when it is another one. */
export function callIn({ content, metadata }: Message): ToolCall | undefined {
  if (metadata?.extra[KIND] !== "call") return undefined;
  return { id: metadata.toolCallId, name: metadata.toolName, input: inputIn(content) };
}

/** The result that a message stands for; undefined when it is another one. */
export function resultIn({ content, metadata }: Message): ToolResult | undefined {
  if (metadata?.extra[KIND] !== "result") return undefined;
  return { id: metadata.toolCallId, name: metadata.toolName, text: content };
}

/** The question that a TOOL message belongs to; undefined when it does not say. */
export function questionOf({ metadata }: Message): string | undefined {
  return metadata?.extra[QUESTION];
}

function placeWords({ messageId, answerBytes }: ToolPlace): Readonly<Record<string, string>> {
  return { [QUESTION]: messageId, answer_bytes: String(answerBytes) };
}

function inputIn(content: string): JsonObject | string {
  try {
    const value: unknown = JSON.parse(content);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    // It was parsed from JSON.
    return isObject ? (value as JsonObject) : content;
  } catch {
    return content; // as a model has written it that can't write JSON
  }
}
