import type { Client } from "../../src/client/client.ts";
import { watch } from "../../src/client/watch.ts";
import {
  EventType,
  type Session,
  SessionState,
  SessionStateSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "./enum-name.ts";
import { type Recorded, recordedOf } from "./event-record.ts";
import type { Random } from "./random.ts";
import type { Violations } from "./violations.ts";

/** What the log says, gathered from its events as they come. */
export class LogStory {
  readonly sessions = new Map<string, { readonly messages: string[]; created: number; closed: number }>();
  readonly #ids = new Set<string>();
  #read = 0;

  /** Takes in the events that are new since the last time. */
  take(events: readonly Recorded[], violations: Violations): void {
    for (; this.#read < events.length; this.#read += 1) {
      const event = events[this.#read];
      if (event === undefined) continue;
      violations.unless(!this.#ids.has(event.id), () => `event id ${event.id} came twice`);
      this.#ids.add(event.id);
      if (event.type === EventType.MESSAGE_CREATED)
        this.#of(event).messages.push(event.data.message_id ?? "");
      if (event.type === EventType.SESSION_CREATED) this.#of(event).created += 1;
      if (event.type === EventType.SESSION_CLOSED) this.#of(event).closed += 1;
    }
  }

  #of({ sessionId }: Recorded) {
    const story = this.sessions.get(sessionId) ?? { messages: [], created: 0, closed: 0 };
    this.sessions.set(sessionId, story);
    return story;
  }
}

/** Every session has its events, and every event its session. */
export function checkStories(sessions: readonly Session[], story: LogStory, violations: Violations): void {
  const rows = new Map(sessions.map((session) => [session.id, session]));
  for (const [id, { created, closed }] of story.sessions) {
    const row = rows.get(id);
    violations.unless(
      row !== undefined && created === 1,
      () => `the log has session ${id} created ${created} times; its row: ${row?.id}`,
    );
    const due = row?.state === SessionState.CLOSED ? 1 : 0;
    violations.unless(
      closed === due,
      () =>
        `the log has session ${id} closed ${closed} times; it is ${enumName(SessionStateSchema, row?.state ?? 0)}`,
    );
  }
  for (const { id } of sessions)
    violations.unless(story.sessions.has(id), () => `session ${id} has no event`);
}

/** The messages of one session are those of the log, in the log's order. */
export function checkMessageEvents(
  sessionId: string,
  found: { readonly listed: readonly string[]; readonly story: LogStory; readonly violations: Violations },
): void {
  const logged = found.story.sessions.get(sessionId)?.messages ?? [];
  const at = found.listed.findIndex((id, place) => id !== logged[place]);
  found.violations.unless(
    at < 0 && logged.length === found.listed.length,
    () =>
      `session ${sessionId} lists ${found.listed.length} messages, the log has ${logged.length}; they part at ${at}`,
  );
}

/** A subscriber that comes back with an old cursor gets what the first one got. */
export async function checkResumed(
  client: Client,
  recorded: readonly Recorded[],
  { random, violations }: { readonly random: Random; readonly violations: Violations },
): Promise<void> {
  const from = random.pick(recorded.slice(0, -1));
  if (from === undefined) return;
  const wanted = recorded.slice(from.position, from.position + 500);
  const got: Recorded[] = [];
  const signal = AbortSignal.timeout(10_000);
  for await (const event of watch(client, { resumeAfter: from.cursor, signal })) {
    got.push(recordedOf(event));
    if (got.length === wanted.length) break;
  }
  violations.unless(
    Bun.deepEquals(got, wanted),
    () =>
      `a subscriber that resumed after event ${from.position} got other events than the one that was there`,
  );
}
