import { expect, jest, test } from "bun:test";
import { renameSync } from "node:fs";
import type { EventType } from "../../src/events/event.ts";
import { Expiry } from "../../src/sessions/expiry.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { sessionTable } from "../../src/sessions/session.ts";
import type { Sessions } from "../../src/sessions/sessions.ts";
import { changed, put } from "../../src/store/store.ts";
import { call, type SessionParts, seconds, sessionParts, wanted } from "./session-parts.ts";

test("expire() announces a session's end once, then ends it", async () => {
  await using parts = await sessionParts();
  const id = await timed(parts, { duration: 600 });
  await at(parts, 539_999, []);
  await at(parts, 540_000, ["session_expiring"]);
  await at(parts, 540_001, []);
  await at(parts, 599_999, []);
  await at(parts, 600_000, ["session_closed"]);
  await at(parts, 700_000, []);
  const events = await parts.events(id);
  expect(events[1]).toMatchObject({
    type: "session_expiring",
    source: "sessions",
    actor: "uid:7",
    data: { expires_at: new Date(events[0] === undefined ? 0 : events[0].at + 600_000).toISOString() },
  });
  expect(events[2]?.data?.reason).toBe("max_duration_ns is over: it was open for 600 s");
});

test("expire() does not announce the end of a duration again because the session is used", async () => {
  await using parts = await sessionParts();
  const id = await timed(parts, { duration: 600 });
  await at(parts, 540_000, ["session_expiring"]);
  await send(parts, id);
  await at(parts, 541_000, []);
  await send(parts, id);
  await at(parts, 599_999, []);
  await at(parts, 600_000, ["session_closed"]);
});

test("expire() ends a session after its idle time, which every use begins again", async () => {
  await using parts = await sessionParts();
  const id = await timed(parts, { idle: 100 });
  await at(parts, 89_999, []);
  await send(parts, id);
  await at(parts, 100_000, []);
  await at(parts, 179_999, ["session_expiring"]);
  await parts.sessions.touch(id);
  await at(parts, 189_999, []);
  await parts.sessions.update(id, (session) => session, call());
  await at(parts, 279_999, ["session_expiring"]);
  await at(parts, 289_998, []);
  await at(parts, 289_999, ["session_closed"]);
  expect((await parts.events(id)).at(-1)?.data?.reason).toBe(
    "idle_timeout_ns is over: nothing happened for 100 s",
  );
});

test("expire() ends a session at the first of both, however much it is used", async () => {
  await using parts = await sessionParts();
  const id = await timed(parts, { idle: 100, duration: 250 });
  for (const now of [50_000, 100_000, 150_000, 200_000]) {
    await at(parts, now, []);
    await send(parts, id);
  }
  await at(parts, 240_000, ["session_expiring"]);
  await at(parts, 250_000, ["session_closed"]);
});

test("expire() knows the deadlines after a restart, and ends at once what ended meanwhile", async () => {
  await using parts = await sessionParts();
  await timed(parts, { duration: 600 });
  await timed(parts, { idle: 100 });
  await at(parts, 50_000, []);
  await parts.reopen();
  await at(parts, 90_000, ["session_expiring"]);
  await parts.reopen();
  await at(parts, 95_000, []);
  await at(parts, 100_000, ["session_closed"]);
  await parts.reopen();
  await at(parts, 1_000_000, ["session_closed"]);
  expect(await parts.sessions.countOpen()).toBe(0);
  expect(await parts.sessions.nextDue()).toBeUndefined();
});

test("expire() follows a clock that jumps: forward ends, back waits", async () => {
  await using parts = await sessionParts();
  await timed(parts, { duration: 600 });
  await at(parts, 540_000, ["session_expiring"]);
  await at(parts, -9_000_000, []);
  await at(parts, 590_000, []);
  await at(parts, 86_400_000, ["session_closed"]);
});

test("expire() ends many sessions, a bounded number at a time", async () => {
  await using parts = await sessionParts();
  for (let index = 0; index < 30; index += 1) await timed(parts, { duration: 10 });
  parts.now += 10_000;
  expect(await parts.sessions.expire(call(), 12)).toBe(12);
  expect(await parts.sessions.expire(call(), 12)).toBe(12);
  expect(await parts.sessions.expire(call(), 12)).toBe(6);
  expect(await parts.sessions.expire(call(), 12)).toBe(0);
});

test("expire() waits for no container, and a lost engine does not end it", async () => {
  const never = new Promise<void>(() => {});
  await using parts = await sessionParts({
    empty: (id) => (id === stuck ? never : Promise.reject(new Error("lost"))),
  });
  const stuck = await timed(parts, { duration: 10 });
  const lost = await timed(parts, { duration: 10 });
  const plain = await timed(parts, { duration: 10 });
  for (const id of [stuck, lost]) {
    const session = await parts.sessions.get(id);
    await parts.store.change({}, () =>
      changed(undefined, [put(sessionTable, { ...session, containerIds: ["c"] })]),
    );
  }
  parts.now += 10_000;
  expect(await parts.sessions.expire(call())).toBe(3);
  const states = await Promise.all(
    [stuck, lost, plain].map(async (id) => (await parts.sessions.get(id)).life.state),
  );
  expect(states).toEqual(["closing", "closing", "closed"]);
  expect(parts.unfinished).toEqual([lost]);
  expect(await parts.sessions.expire(call())).toBe(0);
});

test("touch() writes no more often than it has to", async () => {
  await using parts = await sessionParts();
  const id = await timed(parts, { idle: 100 });
  const lastAt = async () => (await parts.sessions.activity(id))?.lastAt;
  const begin = parts.now;
  parts.now += 5_000;
  await parts.sessions.touch(id);
  expect(await lastAt()).toBe(begin + 5_000);
  parts.now += 999;
  await parts.sessions.touch(id);
  expect(await lastAt()).toBe(begin + 5_000);
  parts.now += 1;
  await parts.sessions.touch(id);
  expect(await lastAt()).toBe(begin + 6_000);
  parts.now -= 3_600_000; // a clock that is set back is no reason to wait an hour
  await parts.sessions.touch(id);
  expect(await lastAt()).toBe(parts.now);
});

test("touch() does not fail because nothing can be written", async () => {
  await using parts = await sessionParts();
  const id = await timed(parts, { idle: 100 });
  parts.now += 5_000;
  renameSync(parts.path, `${parts.path}.away`);
  await parts.sessions.touch(id);
  renameSync(`${parts.path}.away`, parts.path);
  expect((await parts.sessions.activity(id))?.lastAt).toBe(parts.now - 5_000);
});

test("run() ends sessions until it is told to stop", async () => {
  await using parts = await sessionParts();
  await timed(parts, { duration: 10 });
  parts.now += 10_000;
  const stop = new AbortController();
  const closed = heard(parts, "session_closed");
  const running = new Expiry(() => parts.now).run(parts.sessions, stop.signal);
  await closed;
  stop.abort();
  await running;
});

test("run() wakes for a deadline that is sooner than its next look", async () => {
  jest.useFakeTimers(); // so that no look comes by itself
  try {
    const looks: string[] = [];
    let planned = Promise.withResolvers<void>();
    // What run() uses of Sessions: here it matters when it asks, not what it is told.
    const sessions = {
      expire: async () => {
        looks.push("look");
        return 0;
      },
      nextDue: async () => {
        setTurn(() => planned.resolve());
        return undefined;
      },
    } as unknown as Sessions;
    const stop = new AbortController();
    const expiry = new Expiry(() => 1_000_000);
    const running = expiry.run(sessions, stop.signal);
    await planned.promise;
    expiry.notice(1_005_000); // later than the next look
    await new Promise<void>(setTurn);
    expect(looks).toHaveLength(1);
    planned = Promise.withResolvers();
    expiry.notice(1_000_010);
    await planned.promise;
    expect(looks).toHaveLength(2);
    stop.abort();
    await running;
  } finally {
    jest.useRealTimers();
  }
});

/** Calls `then` when all that can go on without a timer has done so. */
const setTurn = setImmediate.bind(globalThis);

/** A session with time-outs in seconds; the clock of the others stands where it was made first. */
async function timed(
  parts: SessionParts,
  { duration = 0, idle = 0 }: { readonly duration?: number; readonly idle?: number },
): Promise<SessionId> {
  const config = { maxDurationNs: seconds(duration), idleTimeoutNs: seconds(idle) };
  return (await parts.sessions.create(wanted({ config }), call())).id;
}

/** Lets expiry look `afterMs` after the beginning, and checks what it has told. */
async function at(parts: SessionParts, afterMs: number, types: readonly EventType[]): Promise<void> {
  parts.now = BEGIN + afterMs;
  const before = parts.store.events.tail;
  while ((await parts.sessions.expire(call())) > 0);
  const { events } = await parts.store.events.read({ after: before, filter: {}, limit: 100 });
  expect([afterMs, events.map(({ type }) => type)]).toEqual([afterMs, [...types]]);
}

/** Where the clock of `sessionParts` stands at first. */
const BEGIN = 1_000_000_000;

async function send(parts: SessionParts, id: SessionId): Promise<void> {
  const metadata = { containerId: "", toolName: "", toolCallId: "", extra: {} };
  await parts.messages.send(
    id,
    { draft: { id: "", role: "user", content: "x", metadata }, idempotencyKey: "" },
    call(),
  );
  const [event] = (await parts.events(id)).slice(-1);
  expect(event?.type).toBe("message_created");
}

function heard(parts: SessionParts, type: EventType): Promise<void> {
  return new Promise((resolve) => {
    parts.store.events.onAppend((events) => {
      if (events.some((event) => event.type === type)) resolve();
    });
  });
}
