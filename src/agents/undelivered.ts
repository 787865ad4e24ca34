import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { type AgentMessage, orchestrator } from "./agent-message.ts";

/** What a sender is told on its line about a message that could not be passed on. */
export function notDelivered(message: AgentMessage, why: Failure, at: Instant): AgentMessage {
  return {
    id: Bun.randomUUIDv7(),
    type: "error",
    at,
    sourceId: orchestrator,
    targetId: message.sourceId,
    payload: {
      kind: "data",
      contentType: "text/plain",
      data: Buffer.from(why.message),
      headers: {
        code: why.kind.toUpperCase(),
        reason: why.details.reason ?? why.kind.toUpperCase(),
        message_id: message.id,
        target_id: message.targetId,
      },
    },
    metadata: {
      correlationId: message.metadata.correlationId,
      sessionId: message.metadata.sessionId,
      headers: {},
      priority: 0,
    },
  };
}

/** A message for the server that nothing in it waits for. */
export function notTaken({ id, type, metadata }: AgentMessage): Failure {
  return new Failure(
    "failed_precondition",
    `Cannot take message "${id}": nothing waits for a message of type ${type.toUpperCase()}${
      metadata.correlationId === "" ? "" : ` with correlation_id "${metadata.correlationId}"`
    }`,
    { reason: "MESSAGE_NOT_AWAITED", metadata: { message_id: id } },
  );
}
