import { describe, expect, test } from "bun:test";
import {
  type Activity,
  activeSession,
  activityAt,
  expiryStep,
  type Session,
  type SessionId,
} from "../../src/sessions/session.ts";
import {
  announceExpiry,
  closeSession,
  createSession,
  finishClosing,
  updateSession,
} from "../../src/sessions/session-rules.ts";
import { onceKey } from "../../src/store/answers.ts";
import { config, metadata, seconds } from "./session-parts.ts";

const id = "s1" as SessionId; // any text will do for a rule
const deciding = { at: 5_000, actor: "uid:7", correlationId: "corr" };
const plain: Session = {
  id,
  metadata: metadata({ name: "n", labels: { team: "red" }, ownerId: "o" }),
  config: config(),
  preferences: { timezone: "", language: "", theme: "", notifications: false },
  currentTaskId: "",
  taskHistory: [],
  life: { state: "active" },
  createdAt: 1_000,
  updatedAt: 1_000,
  containerIds: [],
};
const activity: Activity = { sessionId: id, lastAt: 1_000, messageCount: 3, expiresAt: null, dueAt: null };

describe("activityAt()", () => {
  const at = (session: Session, now: number, before?: Activity) =>
    activityAt(session, now, { before, noticeMs: 60_000 });
  const lasting = (durationS: number, idleS: number): Session => ({
    ...plain,
    config: config({ maxDurationNs: seconds(durationS), idleTimeoutNs: seconds(idleS) }),
  });

  test("has no end without time-outs, and keeps the count of messages", () => {
    expect(at(plain, 9_000, activity)).toEqual({ ...activity, lastAt: 9_000 });
  });

  test("ends at the earlier of duration and idle time", () => {
    expect(at(lasting(100, 0), 51_000).expiresAt).toBe(101_000);
    expect(at(lasting(0, 10), 51_000).expiresAt).toBe(61_000);
    expect(at(lasting(100, 10), 51_000).expiresAt).toBe(61_000);
    expect(at(lasting(100, 10), 99_000).expiresAt).toBe(101_000);
  });

  test("is due for the announcement before the end: by the notice, or a tenth of a short life", () => {
    expect(at(lasting(3_600, 0), 1_000).dueAt).toBe(3_601_000 - 60_000);
    expect(at(lasting(100, 0), 1_000).dueAt).toBe(91_000);
    expect(at(lasting(100, 10), 1_000).dueAt).toBe(10_000);
  });

  test("is due for the end alone once this end was announced", () => {
    const session = lasting(100, 0);
    const before = { ...at(session, 1_000), dueAt: 101_000 };
    expect(at(session, 95_000, before)).toMatchObject({ expiresAt: 101_000, dueAt: 101_000 });
    const longer = lasting(1_000, 0);
    expect(at(longer, 95_000, before)).toMatchObject({ expiresAt: 1_001_000, dueAt: 941_000 });
  });
});

describe("expiryStep()", () => {
  const session = { ...plain, config: config({ maxDurationNs: seconds(100) }) };
  const due = { ...activity, expiresAt: 101_000, dueAt: 91_000 };

  test("does nothing, announces, then ends, as time goes on", () => {
    expect(expiryStep(session, due, 90_999)).toEqual({ kind: "none" });
    expect(expiryStep(session, due, 91_000)).toEqual({
      kind: "announce",
      expiresAt: 101_000,
      reason: "max_duration_ns",
    });
    expect(expiryStep(session, due, 101_000)).toMatchObject({ kind: "end" });
  });

  test("says which time-out is over", () => {
    expect(expiryStep(session, due, 200_000)).toEqual({
      kind: "end",
      reason: "max_duration_ns is over: it was open for 100 s",
    });
    const idle = { ...plain, config: config({ idleTimeoutNs: seconds(10), maxDurationNs: seconds(900) }) };
    expect(expiryStep(idle, { ...due, expiresAt: 11_000 }, 200_000)).toEqual({
      kind: "end",
      reason: "idle_timeout_ns is over: nothing happened for 10 s",
    });
  });

  test("leaves sessions alone that have no end or are ending", () => {
    expect(expiryStep(session, activity, 1e12)).toEqual({ kind: "none" });
    const closing: Session = { ...session, life: { state: "closing", reason: "", by: "x", since: 1 } };
    expect(expiryStep(closing, due, 1e12)).toEqual({ kind: "none" });
  });
});

describe("createSession()", () => {
  const create = { ...deciding, once: undefined, maxSessions: 2, noticeMs: 0 };

  test("saves the session, its activity and the count, and tells of it", () => {
    const { result, rows, events } = createSession({ open: undefined, answer: undefined }, plain, create);
    expect(result).toBe(id);
    expect(rows.map(({ table }) => table.name)).toEqual(["sessions", "activities", "counters"]);
    expect(rows[2]).toMatchObject({ put: { name: "open_sessions", value: 1 } });
    expect(events).toEqual([
      {
        type: "session_created",
        source: "orchestrator.grpc",
        at: 5_000,
        actor: "uid:7",
        correlationId: "corr",
        sessionId: id,
        userId: "o",
        labels: { team: "red" },
        data: { name: "n" },
      },
    ]);
  });

  test("refuses one more than may be open", () => {
    const open = { name: "open_sessions", value: 2 };
    expect(() => createSession({ open, answer: undefined }, plain, create)).toThrow(
      'Cannot create session "n": 2 sessions are open, and 2 is the most; close some',
    );
  });

  test("answers the same request again also at the bound, and forgets after 24 h", () => {
    const once = onceKey("k", { kind: "create_session", scope: "", content: 1 });
    const open = { name: "open_sessions", value: 2 };
    const answer = { key: once.row, fingerprint: once.fingerprint, subject: "first", expiresAt: 6_000 };
    expect(createSession({ open, answer }, plain, { ...create, once })).toEqual({
      result: "first" as SessionId, // the subject of an answer of this kind
      rows: [],
      events: [],
    });
    const free = { name: "open_sessions", value: 0 };
    expect(createSession({ open: free, answer }, plain, { ...create, once, at: 6_000 }).result).toBe(id);
  });
});

describe("closeSession() and finishClosing()", () => {
  const open = { name: "open_sessions", value: 4 };
  const close = { ...deciding, reason: "done", source: "orchestrator.grpc" };

  test("closes a session without containers at once", () => {
    const { result, rows, events } = closeSession({ session: plain, activity, open }, close);
    expect(result.life).toEqual({ state: "closed", reason: "done", by: "uid:7", since: 5_000, at: 5_000 });
    expect(rows).toContainEqual(expect.objectContaining({ put: { name: "open_sessions", value: 3 } }));
    expect(events.map(({ type, data }) => [type, data])).toEqual([["session_closed", { reason: "done" }]]);
  });

  test("begins to close a session with containers, takes its end away, and closes it when they are gone", () => {
    const session = { ...plain, containerIds: ["c1"] };
    const due = { ...activity, expiresAt: 9_000, dueAt: 9_000 };
    const begun = closeSession({ session, activity: due, open }, close);
    expect(begun.result.life).toEqual({ state: "closing", reason: "done", by: "uid:7", since: 5_000 });
    expect(begun.rows).toContainEqual(expect.objectContaining({ put: { ...due, dueAt: null } }));
    expect(begun.events[0]).toMatchObject({
      type: "session_updated",
      data: { state: "closing", reason: "done" },
    });

    const finish = { ...deciding, at: 8_000, actor: "system", id, source: "sessions" };
    expect(finishClosing({ session: begun.result, activity, open }, finish).rows).toEqual([]);
    const empty = { ...begun.result, containerIds: [] };
    const done = finishClosing({ session: empty, activity, open }, finish);
    expect(done.result.life).toEqual({
      state: "closed",
      reason: "done",
      by: "uid:7",
      since: 5_000,
      at: 8_000,
    });
    expect(done.events[0]).toMatchObject({
      type: "session_closed",
      actor: "uid:7",
      data: { reason: "done" },
    });
  });

  test("changes nothing when it is closing or closed already", () => {
    for (const state of ["closing", "closed"] as const) {
      const session: Session = { ...plain, life: { state, reason: "first", by: "x", since: 1, at: 2 } };
      expect(closeSession({ session, activity, open }, close)).toEqual({
        result: session,
        rows: [],
        events: [],
      });
    }
    expect(finishClosing({ session: plain, activity, open }, { ...deciding, id, source: "" }).rows).toEqual(
      [],
    );
  });
});

describe("updateSession() and the others", () => {
  test("updateSession() names what has changed, and tells of nothing when nothing has", () => {
    const loaded = { session: plain, activity };
    const patch = (session: Session): Session => ({
      ...session,
      metadata: { ...session.metadata, name: "other" },
      currentTaskId: "t",
    });
    const changed = updateSession(loaded, patch, { ...deciding, noticeMs: 0 });
    expect(changed.result).toMatchObject({ updatedAt: 5_000, currentTaskId: "t" });
    expect(changed.events[0]).toMatchObject({
      type: "session_updated",
      data: { fields: "metadata,current_task_id" },
    });
    const same = updateSession(loaded, (session) => ({ ...session }), { ...deciding, noticeMs: 0 });
    expect(same.events).toEqual([]);
    expect(same.result).toBe(plain);
    expect(same.rows).toEqual([expect.objectContaining({ put: { ...activity, lastAt: 5_000 } })]);
  });

  test("announceExpiry() tells the time of the end and waits for that", () => {
    const due = { ...activity, expiresAt: 9_000, dueAt: 5_000 };
    const { rows, events } = announceExpiry(plain, due, {
      ...deciding,
      expiresAt: 9_000,
      reason: "idle_timeout_ns",
    });
    expect(rows).toEqual([expect.objectContaining({ put: { ...due, dueAt: 9_000 } })]);
    expect(events[0]).toMatchObject({
      type: "session_expiring",
      data: { expires_at: "1970-01-01T00:00:09.000Z", reason: "idle_timeout_ns" },
    });
  });

  test("activeSession() says what keeps a session from taking work", () => {
    expect(activeSession(plain, { id, doing: "use session" })).toBe(plain);
    expect(() => activeSession(undefined, { id, doing: "use session" })).toThrow(
      'Cannot use session "s1": there is no session with this id',
    );
    const closed: Session = {
      ...plain,
      life: { state: "closed", reason: "done", by: "x", since: 0, at: 7_000 },
    };
    expect(() => activeSession(closed, { id, doing: "use session" })).toThrow(
      'Cannot use session "s1": the session is closed since 1970-01-01T00:00:07.000Z (done)',
    );
    const closing: Session = { ...plain, life: { state: "closing", reason: "", by: "x", since: 3_000 } };
    expect(() => activeSession(closing, { id, doing: "use session" })).toThrow(
      'Cannot use session "s1": the session is closing since 1970-01-01T00:00:03.000Z (no reason given)',
    );
  });
});
