import type { Client } from "../../src/client/client.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type CreatedSession, contentOf, type Entry, type SentMessage } from "./journal.ts";
import { outcomeOf } from "./outcome.ts";
import type { Violations } from "./violations.ts";

/** How many calls of a round are made again. */
const atMost = 40;

/** Makes keyed calls of a round again, first those without an answer: each has to give what it gave, or one thing twice. */
export async function repeatCalls(
  client: Client,
  entries: readonly Entry[],
  violations: Violations,
): Promise<number> {
  const keyed = entries.filter((entry): entry is CreatedSession | SentMessage =>
    entry.call === "create_session"
      ? entry.key !== ""
      : entry.call === "send_message" && entry.key + entry.id !== "",
  );
  const open = keyed.filter(({ outcome }) => outcome.kind === "unknown");
  const answered = keyed.filter(({ outcome }) => outcome.kind === "acknowledged").slice(-atMost);
  const chosen = [...open, ...answered].slice(0, atMost);
  await Promise.all(chosen.map((entry) => repeat(client, entry, violations)));
  return chosen.length;
}

async function repeat(
  client: Client,
  entry: CreatedSession | SentMessage,
  violations: Violations,
): Promise<void> {
  const first = await outcomeOf(call(client, entry));
  const second = await outcomeOf(call(client, entry));
  // A session that was closed meanwhile takes no new message, but gives an answer that it has given.
  if (entry.outcome.kind === "unknown" && first.kind === "refused") return;
  const before = entry.outcome.kind === "acknowledged" ? entry.outcome : first;
  violations.unless(
    Bun.deepEquals(first, before) && Bun.deepEquals(second, before),
    () => `"${entry.op}" again gave ${text(first)}, then ${text(second)}; at first ${text(entry.outcome)}`,
  );
}

function call(client: Client, entry: CreatedSession | SentMessage): Promise<string> {
  const { op, key: idempotencyKey } = entry;
  if (entry.call === "create_session") {
    const metadata = { name: op, labels: { op } };
    return client.orchestrator.createSession({ metadata, idempotencyKey }).then(({ sessionId }) => sessionId);
  }
  const { sessionId, id, size, sender } = entry;
  const message = {
    id,
    role: MessageRole.USER,
    content: contentOf(op, size),
    metadata: { extra: { sender } },
  };
  return client.orchestrator
    .sendMessage({ sessionId, message, idempotencyKey })
    .then(({ messageId }) => messageId);
}

function text(outcome: { readonly kind: string; readonly id?: string; readonly status?: string }): string {
  return `${outcome.kind} ${outcome.id ?? outcome.status ?? ""}`;
}
