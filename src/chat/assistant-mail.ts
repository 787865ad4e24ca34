import { type AgentMessage, orchestrator } from "../agents/agent-message.ts";
import type { Instant } from "../events/event.ts";
import type { Message } from "../messages/message.ts";
import type { RunningTurn } from "./turn.ts";

/** The longest words of an assistant's error that are kept, in UTF-16 units. */
const maxWords = 4_096;

/** A question as an assistant gets it. */
export function questionMessage(turn: RunningTurn, question: Message): AgentMessage {
  const { model } = question.metadata.extra;
  return {
    id: question.id,
    type: "data",
    at: question.at,
    sourceId: orchestrator,
    targetId: turn.life.assistantId,
    payload: {
      kind: "data",
      contentType: "text/plain",
      data: Buffer.from(question.content),
      headers: {},
    },
    metadata: {
      correlationId: turn.life.ticket,
      sessionId: question.sessionId,
      headers: {
        message_id: question.id,
        attempt: String(turn.attempt),
        ...(model === undefined ? {} : { model }),
      },
      priority: 0,
    },
  };
}

/** What tells an assistant to give up a question. */
export function cancelMessage(what: {
  readonly assistantId: string;
  readonly ticket: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly reason: string;
  readonly at: Instant;
}): AgentMessage {
  const { assistantId, ticket, sessionId, messageId, reason, at } = what;
  return {
    id: Bun.randomUUIDv7(),
    type: "control",
    at,
    sourceId: orchestrator,
    targetId: assistantId,
    payload: {
      kind: "control",
      command: "cancel",
      parameters: { correlation_id: ticket, message_id: messageId, reason },
    },
    metadata: { correlationId: ticket, sessionId, headers: { message_id: messageId }, priority: 0 },
  };
}

/** The words of an ERROR frame. */
export function errorWords({ payload }: AgentMessage): string {
  const words = payload.kind === "data" ? new TextDecoder().decode(payload.data).trim() : "";
  if (words === "") return "the assistant gives up, and does not say why";
  return words.length <= maxWords ? words : `${words.slice(0, maxWords).toWellFormed()}... (cut)`;
}
