import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import {
  EventType,
  type Message,
  MessageRole,
  type MessageSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** What a question is, and for how long its answer is waited for. */
export interface Awaited {
  readonly sessionId: string;
  readonly message: MessageInitShape<typeof MessageSchema> & { readonly id: string };
  /** Milliseconds; `undefined`: for as long as the server does. */
  readonly timeoutMs: number | undefined;
}

/**
 * Sends a question and gives its answer, also of one that was answered before.
 *
 * Failures: as SendMessage; UNAVAILABLE or CANCELLED when there is no answer, with the server's words.
 */
export async function awaitAnswer(
  client: Client,
  { sessionId, message, timeoutMs }: Awaited,
): Promise<Message> {
  const { id } = message;
  await using stream = client.orchestrator.streamMessages(
    (async function* () {
      yield { sessionId, payload: { case: "message" as const, value: message } };
    })(),
    timeoutMs === undefined ? {} : { timeoutMs },
  );
  for await (const { payload } of stream) {
    if (payload.case === "message" && answers(payload.value, id)) return payload.value;
    if (payload.case !== "event" || payload.value.data.message_id !== id) continue;
    const { type, data } = payload.value;
    if (type === EventType.TURN_FAILED) throw unanswered("unavailable", id, data.error ?? "", data.reason);
    if (type === EventType.TURN_CANCELLED) throw unanswered("cancelled", id, data.reason ?? "");
  }
  return await storedAnswer(client, sessionId, id);
}

/** The answer to a question that was sent, and answered, before. */
async function storedAnswer(client: Client, sessionId: string, id: string): Promise<Message> {
  for (let pageToken = ""; ; ) {
    const page = await client.orchestrator.listMessages({ sessionId, newestFirst: true, pageToken });
    const found = page.messages.find((message) => answers(message, id));
    if (found !== undefined) return found;
    if (page.nextPageToken === "") throw unanswered("unavailable", id, "it was sent before, and has none");
    pageToken = page.nextPageToken;
  }
}

function answers(message: Message, id: string): boolean {
  return message.role === MessageRole.ASSISTANT && message.metadata?.extra.reply_to === id;
}

function unanswered(kind: "unavailable" | "cancelled", id: string, words: string, reason?: string): Failure {
  return new Failure(
    kind,
    `Cannot get an answer to message "${id}": ${words}`,
    reason === undefined ? {} : { reason },
  );
}
