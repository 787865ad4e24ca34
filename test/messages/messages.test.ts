import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
import type { Draft } from "../../src/messages/message.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { maxPageText } from "../../src/store/store.ts";
import { failed } from "../contract/store-changes.ts";
import { call, nobody, type SessionParts, sessionParts, wanted } from "../sessions/session-parts.ts";

describe("send()", () => {
  test("remembers the key of a repetition that was known by its id", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const draft = one({ id: "m1", content: "first" });
    await parts.messages.send(id, draft, call());
    await parts.messages.send(id, { ...draft, idempotencyKey: "k" }, call());
    const other = { ...one({ content: "other" }), idempotencyKey: "k" };
    expect(await failed(parts.messages.send(id, other, call()))).toMatchObject({ kind: "already_exists" });
  });

  test("stores a message, tells of it, and counts it", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const sent = await parts.messages.send(id, one({ content: "~hello é" }), call());
    expect(sent).toMatchObject({
      sessionId: id,
      ordinal: 1,
      at: parts.now,
      role: "user",
      content: "~hello é",
    });
    expect(sent.id).toMatch(/^[0-9a-f-]{36}$/);
    expect((await parts.events(id)).at(-1)).toMatchObject({
      type: "message_created",
      source: "orchestrator.grpc",
      actor: "uid:7",
      correlationId: "corr",
      labels: { team: "red" },
      data: { message_id: sent.id, role: "user", ordinal: "1" },
    });
    await parts.reopen();
    expect((await parts.messages.list(page(id))).rows).toEqual([sent]);
    expect(await parts.sessions.activity(id)).toMatchObject({ messageCount: 1 });
  });

  test("numbers the messages of 64 parallel senders without holes, each session for itself", async () => {
    await using parts = await sessionParts();
    const ids = [await session(parts), await session(parts)];
    const sent = await Promise.all(
      Array.from({ length: 64 }, async (_, sender) => {
        const mine: number[] = [];
        for (let index = 0; index < 10; index += 1) {
          const id = ids[sender % 2] ?? nobody;
          mine.push((await parts.messages.send(id, one({ content: `${sender}/${index}` }), call())).ordinal);
        }
        return { sender, mine };
      }),
    );
    for (const id of ids) {
      const { rows, total } = await parts.messages.list({ ...page(id), limit: 999 });
      expect(total).toBe(320);
      expect(rows.map(({ ordinal }) => ordinal)).toEqual(
        Array.from({ length: 320 }, (_, index) => index + 1),
      );
      const told = (await parts.events(id)).filter(({ type }) => type === "message_created");
      expect(told.map(({ data }) => data?.message_id)).toEqual(rows.map((message) => message.id));
    }
    for (const { mine } of sent) expect(mine).toEqual(mine.toSorted((left, right) => left - right));
  });

  test("with the id of an earlier message gives that one again if it is the same, also after a restart", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const draft = one({ id: "mine", content: "a", metadata: metadata({ extra: { a: "1", b: "2" } }) });
    const [first, second] = await Promise.all([
      parts.messages.send(id, draft, call()),
      parts.messages.send(id, draft, call()),
    ]);
    expect(second).toEqual(first);
    await parts.reopen();
    const otherOrder = one({ id: "mine", content: "a", metadata: metadata({ extra: { b: "2", a: "1" } }) });
    expect(await parts.messages.send(id, otherOrder, call())).toEqual(first);
    for (const other of [
      one({ id: "mine", content: "b" }),
      one({ id: "mine", content: "a", role: "system", metadata: draft.draft.metadata }),
      one({ id: "mine", content: "a" }),
    ]) {
      expect(await failed(parts.messages.send(id, other, call()))).toMatchObject({
        kind: "already_exists",
        details: { reason: "MESSAGE_ID_REUSED", violations: [{ field: "message.id" }] },
      });
    }
    const elsewhere = await session(parts);
    expect((await parts.messages.send(elsewhere, one({ id: "mine", content: "b" }), call())).ordinal).toBe(1);
  });

  test("with the key of an earlier request gives its message again, and forgets after 24 h", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const first = await parts.messages.send(id, one({ content: "a" }, "k"), call());
    expect(await parts.messages.send(id, one({ content: "a" }, "k"), call())).toEqual(first);
    expect(await failed(parts.messages.send(id, one({ content: "b" }, "k"), call()))).toMatchObject({
      kind: "already_exists",
      details: { reason: "IDEMPOTENCY_KEY_REUSED" },
    });
    const elsewhere = await session(parts);
    expect((await parts.messages.send(elsewhere, one({ content: "b" }, "k"), call())).ordinal).toBe(1);
    parts.now += 24 * 3_600_000;
    expect((await parts.messages.send(id, one({ content: "b" }, "k"), call())).ordinal).toBe(2);
  });

  test("refuses a session that is closed or unknown, but answers a repetition of what was stored before", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const keyed = await parts.messages.send(id, one({ content: "a" }, "k"), call());
    const named = await parts.messages.send(id, one({ id: "mine", content: "b" }), call());
    await parts.sessions.close(id, { reason: "done" }, call());
    expect(await parts.messages.send(id, one({ content: "a" }, "k"), call())).toEqual(keyed);
    expect(await parts.messages.send(id, one({ id: "mine", content: "b" }), call())).toEqual(named);
    expect(await failed(parts.messages.send(id, one({ content: "c" }), call()))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "SESSION_CLOSED" },
    });
    expect(await failed(parts.messages.send(nobody, one({}), call()))).toMatchObject({ kind: "not_found" });
    expect((await parts.messages.list(page(id))).rows).toEqual([keyed, named]);
  });

  test("refuses one message more than a session may have, also in parallel", async () => {
    await using parts = await sessionParts({ maxPerSession: 5 });
    const id = await session(parts);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => parts.messages.send(id, one({}), call())),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
    expect(await failed(parts.messages.send(id, one({}), call()))).toMatchObject({
      kind: "resource_exhausted",
      message: `Cannot send a message to session "${id}": it has 5 messages, and 5 is the most`,
      details: { reason: "TOO_MANY_MESSAGES", metadata: { limit: "5" } },
    });
  });

  test("bounds the content in bytes of UTF-8", async () => {
    await using parts = await sessionParts({ maxContentBytes: 12 });
    const id = await session(parts);
    for (const content of ["", "x".repeat(12), "é".repeat(6), "€".repeat(4), "😀".repeat(3)]) {
      await parts.messages.send(id, one({ content }), call());
    }
    for (const content of ["x".repeat(13), "é".repeat(7), "€".repeat(5), "😀".repeat(3).concat("x")]) {
      const outcome = await failed(parts.messages.send(id, one({ content }), call()));
      expect(fields(outcome)).toEqual(["message.content"]);
      expect(outcome).toMatchObject({
        message: expect.stringContaining(`has ${Buffer.byteLength(content)} bytes`),
      });
    }
  });

  test("names every part of a message that is out of its bounds", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const long = "x".repeat(4_097);
    const extra = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, ""]));
    const cases = [
      [{ id: "x".repeat(129) }, "message.id"],
      [{ metadata: metadata({ containerId: long }) }, "message.metadata.container_id"],
      [{ metadata: metadata({ toolName: long }) }, "message.metadata.tool_name"],
      [{ metadata: metadata({ toolCallId: long }) }, "message.metadata.tool_call_id"],
      [{ metadata: metadata({ extra }) }, "message.metadata.extra"],
      [{ metadata: metadata({ extra: { a: long } }) }, 'message.metadata.extra["a"]'],
    ] as const;
    for (const [draft, field] of cases) {
      expect(fields(await failed(parts.messages.send(id, one(draft), call())))).toEqual([field]);
    }
    expect((await parts.messages.list(page(id))).total).toBe(0);
  });
});

describe("list() and newest()", () => {
  test("give the messages in both orders by pages, with the number of all", async () => {
    await using parts = await sessionParts();
    const id = await session(parts);
    const other = await session(parts);
    for (let index = 1; index <= 25; index += 1) {
      await parts.messages.send(id, one({ content: String(index) }), call());
      await parts.messages.send(other, one({ content: "other" }), call());
    }
    const up = Array.from({ length: 25 }, (_, index) => String(index + 1));
    expect(await contents(parts, id, "oldest_first")).toEqual(up);
    expect(await contents(parts, id, "newest_first")).toEqual(up.toReversed());
    const newest = await parts.messages.newest(id, 3);
    expect(newest.map(({ content }) => content)).toEqual(["23", "24", "25"]);
    expect(await failed(parts.messages.list(page(nobody)))).toMatchObject({ kind: "not_found" });
  });

  test("cut a page short whose messages are large, and lose none", async () => {
    await using parts = await sessionParts({ maxContentBytes: maxPageText });
    const id = await session(parts);
    for (let index = 0; index < 6; index += 1) {
      await parts.messages.send(id, one({ content: String(index).repeat(maxPageText / 2 - 1_000) }), call());
    }
    const first = await parts.messages.list({ ...page(id), limit: 100 });
    expect([first.rows.length, first.total]).toEqual([2, 6]);
    const seen = await contents(parts, id, "oldest_first");
    expect(seen.map((content) => content[0])).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect((await parts.messages.newest(id, 100)).map(({ content }) => content[0])).toEqual(["4", "5"]);
  });
});

async function session(parts: SessionParts): Promise<SessionId> {
  return (await parts.sessions.create(wanted({ metadata: { labels: { team: "red" } } }), call())).id;
}

function metadata(more: Partial<Draft["metadata"]> = {}): Draft["metadata"] {
  return { containerId: "", toolName: "", toolCallId: "", extra: {}, ...more };
}

function one(draft: Partial<Draft>, idempotencyKey = "") {
  return {
    draft: { id: "", role: "user", content: "", metadata: metadata(), ...draft } as const,
    idempotencyKey,
  };
}

function page(sessionId: SessionId) {
  return { sessionId, limit: 100, order: "oldest_first" } as const;
}

async function contents(
  parts: SessionParts,
  sessionId: SessionId,
  order: "oldest_first" | "newest_first",
): Promise<string[]> {
  const seen: string[] = [];
  let after: Awaited<ReturnType<typeof parts.messages.list>>["next"];
  do {
    const listing = await parts.messages.list({ sessionId, limit: 10, after, order });
    seen.push(...listing.rows.map(({ content }) => content));
    after = listing.next;
  } while (after !== undefined);
  return seen;
}

function fields(error: unknown): readonly string[] {
  if (!(error instanceof Failure)) throw error;
  expect(error.kind).toBe("invalid_argument");
  return (error.details.violations ?? []).map(({ field }) => field);
}
