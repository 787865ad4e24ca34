import { describe, expect, test } from "bun:test";
import { createLog } from "../../src/daemon/log.ts";
import { Supervisor } from "../../src/daemon/supervisor.ts";
import { Failure } from "../../src/failure.ts";
import type { SessionConfig, SessionId, SessionMetadata } from "../../src/sessions/session.ts";
import { sessionTable } from "../../src/sessions/session.ts";
import { changed, put } from "../../src/store/store.ts";
import { failed } from "../contract/store-changes.ts";
import { call, nobody, type SessionParts, seconds, sessionParts, wanted } from "./session-parts.ts";

describe("create()", () => {
  test("takes every time-out, also one of which a tenth is no whole millisecond", async () => {
    await using parts = await sessionParts();
    for (const idleTimeoutNs of [1n, 1_000_000n, 15_000_000n, 1_234_000_000n, 599_999_999_999n]) {
      const { id } = await parts.sessions.create(wanted({ config: { idleTimeoutNs } }), call());
      expect(Number.isInteger((await parts.sessions.activity(id))?.dueAt)).toBe(true);
    }
  });

  test("fills in a name, the defaults and the times", async () => {
    await using parts = await sessionParts({
      limits: { defaultIdleTimeoutMs: 5_000, defaultMaxDurationMs: 9_000 },
    });
    const session = await parts.sessions.create(wanted(), call());
    expect(session.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(session).toMatchObject({
      metadata: { name: `session-${session.id.slice(-12)}`, labels: {}, tags: [] },
      config: { maxContainers: 10, idleTimeoutNs: seconds(5), maxDurationNs: seconds(9) },
      life: { state: "active" },
      createdAt: parts.now,
      updatedAt: parts.now,
      containerIds: [],
    });
    expect(await parts.sessions.get(session.id)).toEqual(session);
    expect(await parts.sessions.activity(session.id)).toMatchObject({
      expiresAt: parts.now + 5_000,
      messageCount: 0,
    });
    expect(await parts.sessions.countOpen()).toBe(1);
  });

  test("keeps what is asked for", async () => {
    await using parts = await sessionParts();
    const asked = wanted({
      metadata: { name: "n", description: "d", labels: { a: "1" }, ownerId: "o", tags: ["x", "x"] },
      config: {
        maxContainers: 50,
        maxDurationNs: 9_000_000_000_000_000_001n,
        limits: { nanoCpu: 1n, memoryBytes: 2n ** 62n, memorySwap: -1n, pidsLimit: 3n },
        allowedImages: ["alpine"],
      },
    });
    const { id } = await parts.sessions.create(asked, call());
    await parts.reopen();
    expect(await parts.sessions.get(id)).toMatchObject({ metadata: asked.metadata, config: asked.config });
  });

  test("names every field that is out of its bounds, at once", async () => {
    await using parts = await sessionParts();
    const metadataCases: readonly (readonly [Partial<SessionMetadata>, string])[] = [
      [{ name: "x".repeat(21) }, "metadata.name"],
      [{ description: "x".repeat(31) }, "metadata.description"],
      [{ ownerId: "x".repeat(21) }, "metadata.owner_id"],
      [{ labels: { a: "", b: "", c: "", d: "" } }, "metadata.labels"],
      [{ labels: { "": "" } }, "metadata.labels"],
      [{ labels: { "123456789": "" } }, "metadata.labels"],
      [{ labels: { a: "12345678901" } }, 'metadata.labels["a"]'],
      [{ tags: ["1", "2", "3"] }, "metadata.tags"],
      [{ tags: ["ok", "1234567"] }, "metadata.tags[1]"],
    ];
    const none = { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n };
    const policy = {
      allowNetwork: false,
      allowedNetworks: [],
      allowVolumeMount: false,
      allowedPaths: [],
      requireApproval: false,
    };
    const configCases: readonly (readonly [Partial<SessionConfig>, string])[] = [
      [{ maxContainers: 51 }, "config.max_containers"],
      [{ maxContainers: -1 }, "config.max_containers"],
      [{ maxDurationNs: -1n }, "config.max_duration_ns"],
      [{ idleTimeoutNs: -1n }, "config.idle_timeout_ns"],
      [{ limits: { ...none, nanoCpu: -1n } }, "config.resource_limits.nano_cpu"],
      [{ limits: { ...none, memoryBytes: -1n } }, "config.resource_limits.memory_bytes"],
      [{ limits: { ...none, memorySwap: -2n } }, "config.resource_limits.memory_swap"],
      [{ limits: { ...none, pidsLimit: -1n } }, "config.resource_limits.pids_limit"],
      [{ allowedImages: Array.from({ length: 257 }, () => "i") }, "config.allowed_images"],
      [{ allowedImages: ["i", "x".repeat(4_097)] }, "config.allowed_images[1]"],
      [{ policy: { ...policy, allowedNetworks: ["x".repeat(4_097)] } }, "config.policy.allowed_networks[0]"],
      [{ policy: { ...policy, allowedPaths: ["relative"] } }, "config.policy.allowed_paths"],
    ];
    for (const [bad, field] of metadataCases) {
      expect([field, fields(await failed(parts.sessions.create(wanted({ metadata: bad }), call())))]).toEqual(
        [field, [field]],
      );
    }
    for (const [bad, field] of configCases) {
      expect([field, fields(await failed(parts.sessions.create(wanted({ config: bad }), call())))]).toEqual([
        field,
        [field],
      ]);
    }
    const both = wanted({ metadata: { name: "x".repeat(99) }, config: { maxContainers: -5 } });
    expect(fields(await failed(parts.sessions.create(both, call())))).toEqual([
      "metadata.name",
      "config.max_containers",
    ]);
    expect(await parts.sessions.countOpen()).toBe(0);
    expect(await parts.events()).toEqual([]);
  });

  test("takes what is exactly at its bounds", async () => {
    await using parts = await sessionParts();
    const labels = { "12345678": "1234567890", b: "", c: "" };
    const asked = wanted({
      metadata: {
        name: "x".repeat(20),
        description: "x".repeat(30),
        ownerId: "x".repeat(20),
        labels,
        tags: ["123456", ""],
      },
      config: { maxContainers: 50 },
    });
    expect((await parts.sessions.create(asked, call())).metadata).toEqual(asked.metadata);
  });

  test("with the same key and content gives the first session again, also in parallel and after a restart", async () => {
    await using parts = await sessionParts();
    const labels = { a: "1", b: "2" };
    const asked = wanted({ idempotencyKey: "k", metadata: { labels } });
    const sessions = await Promise.all(
      Array.from({ length: 20 }, () => parts.sessions.create(asked, call())),
    );
    expect(new Set(sessions.map(({ id }) => id)).size).toBe(1);
    await parts.reopen();
    const otherOrder = wanted({ idempotencyKey: "k", metadata: { labels: { b: "2", a: "1" } } });
    expect((await parts.sessions.create(otherOrder, call())).id).toBe(sessions[0]?.id as SessionId);
    expect(await parts.sessions.countOpen()).toBe(1);
    expect(await parts.events()).toHaveLength(1);
  });

  test("with the same key and other content is ALREADY_EXISTS, until 24 h are over", async () => {
    await using parts = await sessionParts();
    const first = await parts.sessions.create(wanted({ idempotencyKey: "k" }), call());
    const other = wanted({ idempotencyKey: "k", metadata: { name: "other" } });
    expect(await failed(parts.sessions.create(other, call()))).toMatchObject({
      kind: "already_exists",
      details: { reason: "IDEMPOTENCY_KEY_REUSED" },
    });
    parts.now += 24 * 3_600_000 - 1;
    expect(await failed(parts.sessions.create(other, call()))).toMatchObject({ kind: "already_exists" });
    parts.now += 1;
    expect((await parts.sessions.create(other, call())).id).not.toBe(first.id);
  });

  test("keeps the keys of different callers apart", async () => {
    await using parts = await sessionParts();
    const one = await parts.sessions.create(wanted({ idempotencyKey: "k" }), call({ actor: "uid:1" }));
    const two = await parts.sessions.create(wanted({ idempotencyKey: "k" }), call({ actor: "uid:2" }));
    expect(one.id).not.toBe(two.id);
  });

  test("never opens more sessions than may be open, however many ask at once", async () => {
    await using parts = await sessionParts({ limits: { maxSessions: 5 } });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, () => parts.sessions.create(wanted(), call())),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
    expect(await failed(parts.sessions.create(wanted(), call()))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_SESSIONS", metadata: { limit: "5" } },
    });
    const [first] = (await parts.sessions.list({ filter: {}, limit: 1 })).rows;
    await parts.sessions.close(first?.id ?? nobody, { reason: "" }, call());
    await parts.sessions.create(wanted(), call());
  });
});

describe("list()", () => {
  test("gives the sessions that the filter asks for, newest first, with their number", async () => {
    await using parts = await sessionParts({ empty: () => Promise.reject(new Error("no engine")) });
    const make = async (ownerId: string, team: string) =>
      (await parts.sessions.create(wanted({ metadata: { ownerId, labels: { team, 'o"d': "1" } } }), call()))
        .id;
    const ids = [
      await make("a", "red"),
      await make("b", "red"),
      await make("a", "blue"),
      await make("", "red"),
    ];
    await parts.sessions.close(ids[1] ?? nobody, { reason: "" }, call());
    await withContainer(parts, ids[3] ?? nobody);
    await parts.sessions.close(ids[3] ?? nobody, { reason: "" }, call());
    const cases = [
      [{}, [0, 1, 2, 3]],
      [{ states: ["active"] }, [0, 2]],
      [{ states: ["closed"] }, [1]],
      [{ states: ["closing"] }, [3]],
      [{ states: ["closing", "closed"] }, [1, 3]],
      [{ states: [] }, []],
      [{ ownerId: "a" }, [0, 2]],
      [{ ownerId: "A" }, []],
      [{ labels: { team: "red" } }, [0, 1, 3]],
      [{ labels: { team: "red", 'o"d': "1" }, ownerId: "a", states: ["active"] }, [0]],
    ] as const;
    for (const [filter, expected] of cases) {
      const { rows, total } = await parts.sessions.list({ filter, limit: 99 });
      expect([filter, rows.map(({ id }) => ids.indexOf(id))]).toEqual([filter, expected.toReversed()]);
      expect(total).toBe(expected.length);
    }
  });

  test("goes through all sessions by pages, each with the number of all", async () => {
    await using parts = await sessionParts();
    const ids: string[] = [];
    for (let index = 0; index < 25; index += 1) ids.push((await parts.sessions.create(wanted(), call())).id);
    const seen: string[] = [];
    let after: Awaited<ReturnType<typeof parts.sessions.list>>["next"];
    do {
      const page = await parts.sessions.list({ filter: {}, limit: 10, after });
      expect(page.total).toBe(25);
      seen.push(...page.rows.map(({ id }) => id));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual(ids.toReversed());
  });
});

test("list() keeps nothing of what it has listed", async () => {
  await using parts = await sessionParts({ limits: { maxLabels: 64, maxLabelValueLength: 1_024 } });
  const labels = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`l${at}`, "x".repeat(1_024)]));
  for (let made = 0; made < 50; made += 1)
    await parts.sessions.create(wanted({ metadata: { labels } }), call());
  const listed: WeakRef<object>[] = [];
  const list = async () => {
    for (const session of (await parts.sessions.list({ filter: {}, limit: 100 })).rows)
      listed.push(new WeakRef(session.metadata.labels));
  };
  for (let round = 0; round < 4; round += 1) await list();
  expect(listed).toHaveLength(200);
  // The collector takes what lies on the stack for references, so that a few may stay, and more of the last round at first.
  for (let round = 0; round < 10; round += 1) {
    await new Promise((resolve) => setImmediate(resolve)); // a WeakRef holds until the turn is over
    Bun.gc(true);
  }
  expect(listed.filter((one) => one.deref() !== undefined).length).toBeLessThan(20);
});

describe("update()", () => {
  test("changes what the patch changes and tells of it once", async () => {
    await using parts = await sessionParts();
    const { id } = await parts.sessions.create(wanted({ metadata: { name: "a", tags: ["t"] } }), call());
    parts.now += 50;
    const rename = (session: Awaited<ReturnType<typeof parts.sessions.get>>) => ({
      ...session,
      metadata: { ...session.metadata, name: "b" },
    });
    const updated = await parts.sessions.update(id, rename, call());
    expect(updated).toMatchObject({ metadata: { name: "b", tags: ["t"] }, updatedAt: parts.now });
    await parts.sessions.update(id, rename, call());
    expect((await parts.events(id)).map(({ type }) => type)).toEqual(["session_created", "session_updated"]);
  });

  test("holds the bounds of create() and of what else a client keeps in a session", async () => {
    await using parts = await sessionParts();
    const session = await parts.sessions.create(wanted(), call());
    const cases = [
      [{ metadata: { ...session.metadata, name: "x".repeat(21) } }, "metadata.name"],
      [{ config: { ...session.config, maxContainers: 99 } }, "context.config.max_containers"],
      [{ currentTaskId: "x".repeat(257) }, "context.current_task_id"],
      [{ taskHistory: Array.from({ length: 1_001 }, () => "t") }, "context.task_history"],
      [{ taskHistory: ["x".repeat(257)] }, "context.task_history[0]"],
      [{ preferences: { ...session.preferences, theme: "x".repeat(257) } }, "context.preferences.theme"],
    ] as const;
    for (const [patch, field] of cases) {
      const update = parts.sessions.update(session.id, (before) => ({ ...before, ...patch }), call());
      expect([field, fields(await failed(update))]).toEqual([field, [field]]);
    }
    expect(await parts.sessions.get(session.id)).toEqual(session);
  });

  test("moves the deadlines with the time-outs, and tells of a sooner one", async () => {
    await using parts = await sessionParts();
    const session = await parts.sessions.create(
      wanted({ config: { idleTimeoutNs: seconds(1_000) } }),
      call(),
    );
    parts.now += 5_000;
    const config = { ...session.config, idleTimeoutNs: seconds(10) };
    await parts.sessions.update(session.id, (before) => ({ ...before, config }), call());
    expect(await parts.sessions.activity(session.id)).toMatchObject({ expiresAt: parts.now + 10_000 });
    expect(parts.due).toEqual([parts.now - 5_000 + 1_000_000 - 60_000, parts.now + 9_000]);
  });

  test("is refused for no session and for a closed one", async () => {
    await using parts = await sessionParts();
    const { id } = await parts.sessions.create(wanted(), call());
    await parts.sessions.close(id, { reason: "done" }, call());
    const same = <T>(session: T) => session;
    expect(await failed(parts.sessions.update(id, same, call()))).toMatchObject({
      kind: "failed_precondition",
    });
    expect(await failed(parts.sessions.update(nobody, same, call()))).toMatchObject({ kind: "not_found" });
  });
});

describe("close()", () => {
  test("closes once, whoever asks again, and keeps the first reason", async () => {
    await using parts = await sessionParts();
    const { id } = await parts.sessions.create(wanted(), call());
    const closed = await parts.sessions.close(id, { reason: "first" }, call());
    expect(closed.life).toEqual({
      state: "closed",
      reason: "first",
      by: "uid:7",
      since: parts.now,
      at: parts.now,
    });
    parts.now += 10;
    expect(await parts.sessions.close(id, { reason: "second" }, call())).toEqual(closed);
    expect((await parts.events(id)).map(({ type }) => type)).toEqual(["session_created", "session_closed"]);
    expect(await parts.sessions.countOpen()).toBe(0);
    expect(await failed(parts.sessions.close(nobody, { reason: "" }, call()))).toMatchObject({
      kind: "not_found",
    });
  });

  test("waits until its containers are gone; those who ask meanwhile wait for the same", async () => {
    const gate = Promise.withResolvers<void>();
    let calls = 0;
    await using parts = await sessionParts({
      empty: async (id) => {
        calls += 1;
        await gate.promise;
        await withoutContainers(parts, id);
      },
    });
    const { id } = await parts.sessions.create(wanted(), call());
    await withContainer(parts, id);
    const closings = ["a", "b"].map((reason) => parts.sessions.close(id, { reason }, call()));
    gate.resolve();
    for (const closed of await Promise.all(closings))
      expect(closed.life).toMatchObject({ state: "closed", reason: "a" });
    expect(calls).toBe(1);
  });

  test("goes on when its caller is gone, and ends when the server stops, which waits for it", async () => {
    const order: string[] = [];
    const words: string[] = [];
    const log = createLog({ level: "debug", format: "text", write: (line) => words.push(line) });
    const background = new Supervisor(log);
    const emptying = Promise.withResolvers<void>();
    await using parts = await sessionParts({
      background,
      empty: async (_id, { signal }) => {
        emptying.resolve();
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        order.push("told to stop");
        await new Promise((resolve) => setImmediate(resolve));
        order.push("ended");
        throw signal.reason;
      },
    });
    const closed = await parts.sessions.create(wanted(), call());
    const expired = await parts.sessions.create(wanted({ config: { maxDurationNs: seconds(10) } }), call());
    for (const { id } of [closed, expired]) await withContainer(parts, id);
    const caller = new AbortController();
    const closing = parts.sessions.close(closed.id, { reason: "" }, call({ signal: caller.signal }));
    await emptying.promise;
    caller.abort();
    expect((await closing).life.state).toBe("closing");
    parts.now += 10_000;
    await parts.sessions.expire(call({ signal: caller.signal }));
    expect(order).toEqual([]);
    await background[Symbol.asyncDispose]();
    expect(order).toEqual(["told to stop", "told to stop", "ended", "ended"]);
    expect([parts.unfinished, words]).toEqual([[], []]); // the next start goes on with it
    expect(await parts.sessions.closing(9)).toHaveLength(2);
  });

  test("that can't remove the containers leaves the session closing, and finish() ends it later", async () => {
    let engine = "down";
    await using parts = await sessionParts({
      empty: async (id) => {
        if (engine === "down") throw new Failure("unavailable", "Cannot reach the engine: it is down");
        await withoutContainers(parts, id);
      },
    });
    const { id } = await parts.sessions.create(wanted(), call());
    await withContainer(parts, id);
    const closing = await parts.sessions.close(id, { reason: "r" }, call());
    expect(closing.life).toMatchObject({ state: "closing", reason: "r" });
    expect(parts.unfinished).toEqual([id]);
    await parts.reopen();
    expect((await parts.sessions.closing(9)).map((session) => session.id)).toEqual([id]);
    engine = "up";
    await parts.sessions.finish(id, call());
    expect((await parts.sessions.get(id)).life).toMatchObject({ state: "closed", reason: "r", by: "uid:7" });
    expect(await parts.sessions.closing(9)).toEqual([]);
    expect((await parts.events(id)).map(({ type }) => type)).toEqual([
      "session_created",
      "session_updated",
      "session_closed",
    ]);
  });

  test("whose caller goes away goes on without it", async () => {
    const gate = Promise.withResolvers<void>();
    const stop = new AbortController();
    await using parts = await sessionParts({
      empty: async (id, { signal }) => {
        setImmediate(() => stop.abort()); // its caller goes away once it has begun
        await gate.promise;
        expect(signal.aborted).toBe(false);
        await withoutContainers(parts, id);
      },
    });
    const { id } = await parts.sessions.create(wanted(), call());
    await withContainer(parts, id);
    const closing = parts.sessions.close(id, { reason: "r" }, call({ signal: stop.signal }));
    expect((await closing).life.state).toBe("closing");
    const finished = parts.sessions.finish(id, call()); // joins the attempt that is under way
    gate.resolve();
    await finished;
    expect((await parts.sessions.get(id)).life.state).toBe("closed");
  });
});

function fields(error: unknown): readonly string[] {
  if (!(error instanceof Failure)) throw error;
  expect(error.kind).toBe("invalid_argument");
  return (error.details.violations ?? []).map(({ field }) => field);
}

async function withContainer(parts: SessionParts, id: SessionId): Promise<void> {
  const session = await parts.sessions.get(id);
  await parts.store.change({}, () =>
    changed(undefined, [put(sessionTable, { ...session, containerIds: ["c1"] })]),
  );
}

async function withoutContainers(parts: SessionParts, id: SessionId): Promise<void> {
  const session = await parts.sessions.get(id);
  await parts.store.change({}, () =>
    changed(undefined, [put(sessionTable, { ...session, containerIds: [] })]),
  );
}
