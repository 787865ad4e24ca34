import type { Client } from "../../src/client/client.ts";
import { StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import {
  type Event,
  EventType,
  type Message,
  MessageRole,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { CallerReport } from "./chat-caller.ts";
import type { Violations } from "./violations.ts";

/** What the run knows of one question. */
export interface KnownQuestion {
  readonly sessionId: string;
  readonly id: string;
  /** Whether a caller was told that it is durable. */
  readonly stored: "unknown" | "acknowledged";
  /** The ends that callers saw. */
  readonly seen: readonly Extract<CallerReport, { readonly kind: "ended" }>[];
}

/** How long turns that were under way may take to end. */
const endWithinMs = 30_000;

const ends: ReadonlySet<EventType> = new Set([
  EventType.TURN_ANSWERED,
  EventType.TURN_FAILED,
  EventType.TURN_CANCELLED,
]);

/** No message is lost, no question is answered twice, every turn ends, and what callers saw is true. */
export async function checkChats(
  client: Client,
  known: readonly KnownQuestion[],
  violations: Violations,
): Promise<{ readonly answered: number; readonly failed: number }> {
  const sessions = [...new Set(known.map(({ sessionId }) => sessionId))];
  const messages = new Map<string, readonly Message[]>();
  for (const sessionId of sessions) messages.set(sessionId, await allMessages(client, sessionId));
  const questions = [...messages.values()].flat().filter(({ role }) => role === MessageRole.USER);
  const told = await turnEnds(client, new Set(questions.map(({ id }) => id)), violations);
  let answered = 0;
  for (const sessionId of sessions) messages.set(sessionId, await allMessages(client, sessionId));
  for (const { sessionId, id, stored, seen } of known) {
    const all = messages.get(sessionId) ?? [];
    const copies = all.filter((message) => message.id === id);
    violations.unless(copies.length <= 1, () => `question ${id} is stored ${copies.length} times`);
    if (stored === "acknowledged")
      violations.unless(copies.length === 1, () => `question ${id} was acknowledged and is lost`);
    if (copies.length === 0) continue;
    const answers = all.filter(({ metadata }) => metadata?.extra.reply_to === id);
    violations.unless(answers.length <= 1, () => `question ${id} has ${answers.length} answers`);
    for (const { content } of answers)
      violations.unless(content === `re ${id}`, () => `question ${id} is answered by "${content}"`);
    answered += answers.length;
    const over = told.get(id) ?? [];
    violations.unless(over.length === 1, () => `the turn of ${id} has ended ${over.length} times`);
    const isAnswered = over[0]?.type === EventType.TURN_ANSWERED;
    violations.unless(isAnswered === (answers.length === 1), () => `the end of ${id} is not what is stored`);
    for (const { state, text } of seen) {
      violations.unless(
        (state === StreamState.COMPLETE) === isAnswered,
        () => `a caller was told another end of ${id} than the log has`,
      );
      if (state === StreamState.COMPLETE)
        violations.unless(text === `re ${id}`, () => `a caller has read "${text}" for ${id}`);
    }
  }
  return { answered, failed: questions.length - answered };
}

async function allMessages(client: Client, sessionId: string): Promise<readonly Message[]> {
  const all: Message[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.orchestrator.listMessages({ sessionId, pageToken });
    all.push(...page.messages);
    if (page.nextPageToken === "") return all;
    pageToken = page.nextPageToken;
  }
}

/** The ends of turns in the log, by their question; waits until each question has one. */
async function turnEnds(
  client: Client,
  open: Set<string>,
  violations: Violations,
): Promise<ReadonlyMap<string, readonly Event[]>> {
  const told = new Map<string, Event[]>();
  const signal = AbortSignal.timeout(endWithinMs);
  const { cursor } = await client.orchestrator.listSessions({ pageSize: 1 });
  const filter = { types: [...ends] };
  try {
    await using events = client.orchestrator.subscribeEvents(
      { fromStart: true, filter, bookmarkIntervalNs: 100_000_000n },
      { signal },
    );
    let passed = false;
    for await (const event of events) {
      const id = event.data.message_id ?? "";
      if (ends.has(event.type)) told.set(id, [...(told.get(id) ?? []), event]);
      open.delete(id);
      passed ||= place(event.cursor) >= place(cursor);
      if (open.size === 0 && passed) break;
    }
  } catch {
    violations.add(
      `${open.size} turns have not ended ${endWithinMs / 1_000} s after the last kill: ${[...open].slice(0, 5)}`,
    );
  }
  return told;
}

/** The log's position in a cursor. */
function place(cursor: string): number {
  return Number(cursor.split("-")[1]);
}
