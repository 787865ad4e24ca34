import { expect, test } from "bun:test";
import { keepHouse } from "../../src/daemon/housekeeping.ts";
import { messageTable } from "../../src/messages/message.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { activityTable, sessionTable } from "../../src/sessions/session.ts";
import { answerTable } from "../../src/store/answers.ts";
import { call, type SessionParts, sessionParts, wanted } from "../sessions/session-parts.ts";

const day = 86_400_000;

test("keepHouse() removes sessions that are closed for long enough, with their messages, and nothing else", async () => {
  await using parts = await sessionParts();
  const open = await filled(parts);
  const old = await filled(parts);
  const young = await filled(parts);
  await parts.sessions.close(old, { reason: "" }, call());
  parts.now += 5 * day;
  await parts.sessions.close(young, { reason: "" }, call());
  parts.now += 1;
  await once(parts, { closedSessionsMs: 5 * day });
  for (const [id, kept] of [
    [open, 700],
    [young, 700],
    [old, 0],
  ] as const) {
    expect(await parts.store.count(messageTable, { where: { sessionId: id } })).toBe(kept);
    expect((await parts.store.get(sessionTable, id)) !== undefined).toBe(kept > 0);
    expect((await parts.store.get(activityTable, id)) !== undefined).toBe(kept > 0);
  }
  expect(await parts.store.count(answerTable, {})).toBe(0); // all keys are older than 24 h
  parts.now += 100 * day;
  await once(parts, { closedSessionsMs: 0 });
  expect(await parts.store.count(sessionTable, {})).toBe(2);
});

test("keepHouse() trims the log by what retention says at that time", async () => {
  await using parts = await sessionParts();
  await filled(parts);
  await once(parts, { eventsMaxCount: 10 });
  expect(parts.store.events.tail - parts.store.events.head + 1).toBe(10);
  parts.now += 1_000;
  await once(parts, { eventsMaxBytes: 2_000 });
  const kept = parts.store.events.tail - parts.store.events.head + 1;
  expect(kept).toBeGreaterThan(1);
  expect(kept).toBeLessThan(10);
  await once(parts, { eventsMaxAgeMs: 999 });
  expect(parts.store.events.head).toBe(parts.store.events.tail);
});

/** A session with messages in several steps of removal. */
async function filled(parts: SessionParts): Promise<SessionId> {
  const { id } = await parts.sessions.create(wanted({ idempotencyKey: crypto.randomUUID() }), call());
  const metadata = { containerId: "", toolName: "", toolCallId: "", extra: {} };
  const draft = { id: "", role: "user", content: "x", metadata } as const;
  const send = () => parts.messages.send(id, { draft, idempotencyKey: "" }, call());
  await Promise.all(Array.from({ length: 700 }, send));
  return id;
}

/** One round of housekeeping. */
async function once(
  parts: SessionParts,
  retention: {
    readonly eventsMaxAgeMs?: number;
    readonly eventsMaxCount?: number;
    readonly eventsMaxBytes?: number;
    readonly closedSessionsMs?: number;
    readonly endedTasksMs?: number;
  },
): Promise<void> {
  const { store } = parts;
  const stop = new AbortController();
  const everything = {
    eventsMaxAgeMs: 0,
    eventsMaxCount: 1e9,
    eventsMaxBytes: 1e12,
    closedSessionsMs: 0,
    endedTasksMs: 0,
  };
  const asked = { ...everything, ...retention };
  const trimmed = {
    events: store.events,
    get: store.get.bind(store),
    list: store.list.bind(store),
    count: store.count.bind(store),
    change: store.change.bind(store),
    // The last thing of a round.
    trimEvents: async (...args: Parameters<typeof store.trimEvents>) => {
      const count = await store.trimEvents(...args);
      if (count < args[1].limit) stop.abort();
      return count;
    },
    problem: undefined,
    [Symbol.asyncDispose]: async () => {},
  };
  await keepHouse({ store: trimmed, clock: () => parts.now, retention: () => asked }, stop.signal);
}
