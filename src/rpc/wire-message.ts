import type { MessageInitShape } from "@bufbuild/protobuf";
import { invalid } from "../failure.ts";
import {
  MessageRoleSchema,
  type MessageSchema,
  type Message as WireMessage,
  MessageRole as WireRole,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Draft, Message, MessageRole } from "../messages/message.ts";
import { knownEnum, timestamp } from "./wire-values.ts";

const wireRoles: Readonly<Record<MessageRole, WireRole>> = {
  user: WireRole.USER,
  system: WireRole.SYSTEM,
  assistant: WireRole.ASSISTANT,
  tool: WireRole.TOOL,
};

/** A stored message as the wire has it. */
export function toWireMessage(message: Message): MessageInitShape<typeof MessageSchema> {
  return {
    id: message.id,
    timestamp: timestamp(message.at),
    role: wireRoles[message.role],
    content: message.content,
    metadata: message.metadata,
  };
}

/** A message that a client sends; its timestamp is the server's to set. Failures: INVALID_ARGUMENT. */
export function draftOf(wire: WireMessage | undefined): Draft {
  if (wire === undefined) throw invalid("send a message", [{ field: "message", description: "is missing" }]);
  const { containerId = "", toolName = "", toolCallId = "", extra = {} } = wire.metadata ?? {};
  return {
    id: wire.id,
    role: roleOf(wire.role),
    content: wire.content,
    metadata: { containerId, toolName, toolCallId, extra },
  };
}

function roleOf(wire: WireRole): MessageRole {
  knownEnum(MessageRoleSchema, wire, "message.role");
  for (const role of ["user", "system", "assistant", "tool"] as const) {
    if (wireRoles[role] === wire) return role;
  }
  const description = "is missing; MESSAGE_ROLE_USER, _SYSTEM, _ASSISTANT or _TOOL is allowed";
  throw invalid("send a message", [{ field: "message.role", description }]);
}
