import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Failure } from "../../src/failure.ts";
import {
  type Event,
  EventType,
  MessageRole,
  SessionState,
  type UpdateSessionRequestSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { refusedStart, startServer, type TestServer } from "../server.ts";

describe("a server", () => {
  test("that is stopped ends with 0, removes its socket, and the log tells of both", async () => {
    await using server = await startServer();
    expect(await server.stop()).toBe(0);
    expect(existsSync(server.socketPath)).toBe(false);
    await using again = await startServer({ dataDir: server.dataDir, socketPath: server.socketPath });
    const expected = [EventType.SYSTEM_STARTUP, EventType.SYSTEM_SHUTDOWN, EventType.SYSTEM_STARTUP];
    const events = await read(again, { fromStart: true, filter: { types: expected } }, 3);
    expect(events.map(({ type }) => type)).toEqual(expected);
  }, 60_000);

  test("that is refused its socket leaves no word of a start in the log", async () => {
    await using server = await startServer();
    await using other = await startServer();
    expect(await other.stop()).toBe(0);
    const { exitCode, stderr } = await refusedStart({
      dataDir: other.dataDir,
      socketPath: server.socketPath,
    });
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain("another baaaht serves on it");
    await using again = await startServer({ dataDir: other.dataDir });
    await again.client.orchestrator.createSession({});
    const expected = [
      EventType.SYSTEM_STARTUP,
      EventType.SYSTEM_SHUTDOWN,
      EventType.SYSTEM_STARTUP,
      EventType.SESSION_CREATED,
    ];
    const events = await read(again, { fromStart: true, filter: { types: expected } }, 4);
    expect(events.map(({ type }) => type)).toEqual(expected);
  }, 60_000);

  test("that is killed keeps deadlines: what ended meanwhile is closed by the next one", async () => {
    await using server = await startServer();
    const config = { idleTimeoutNs: 1_000_000_000n };
    const { sessionId } = await server.client.orchestrator.createSession({ config });
    const { sessionId: lasting } = await server.client.orchestrator.createSession({});
    await server.kill();
    await using again = await startServer({ dataDir: server.dataDir });
    const events = await read(again, { fromStart: true, filter: { types: [EventType.SESSION_CLOSED] } }, 1);
    expect(events[0]?.metadata).toMatchObject({ sessionId, actor: "system" });
    expect(events[0]?.data.reason).toBe("idle_timeout_ns is over: nothing happened for 1 s");
    const { sessions } = await again.client.orchestrator.listSessions({});
    expect(Object.fromEntries(sessions.map(({ id, state }) => [id, state]))).toEqual({
      [sessionId]: SessionState.CLOSED,
      [lasting]: SessionState.ACTIVE,
    });
    expect((await again.client.orchestrator.getStatus({})).activeSessions).toBe(1);
  }, 60_000);

  test("that is killed lets a reader resume without loss or repeat", async () => {
    await using server = await startServer();
    const { sessionId } = await server.client.orchestrator.createSession({});
    const filter = { types: [EventType.MESSAGE_CREATED] };
    const acknowledged: string[] = [];
    const send = async (to: TestServer) => {
      const message = { role: MessageRole.USER, content: "x" };
      acknowledged.push((await to.client.orchestrator.sendMessage({ sessionId, message })).messageId);
    };
    for (let index = 0; index < 50; index += 1) await send(server);
    const seen = await read(server, { fromStart: true, filter }, 20);
    await server.kill();
    await using again = await startServer({ dataDir: server.dataDir });
    for (let index = 0; index < 50; index += 1) await send(again);
    seen.push(...(await read(again, { resumeAfter: seen.at(-1)?.cursor ?? "", filter }, 80)));
    expect(seen.map(({ data }) => data.message_id)).toEqual(acknowledged);
  }, 60_000);

  test("takes its bounds from the configuration", async () => {
    const env = { BAAAHT_SESSIONS_MAX_SESSIONS: "2", BAAAHT_MESSAGES_MAX_PER_SESSION: "1" };
    await using server = await startServer({ env });
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({});
    await orchestrator.createSession({});
    expect(await failure(orchestrator.createSession({}))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_SESSIONS" },
    });
    const message = { role: MessageRole.USER, content: "x" };
    await orchestrator.sendMessage({ sessionId, message });
    expect(await failure(orchestrator.sendMessage({ sessionId, message }))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_MESSAGES" },
    });
  }, 60_000);
});

describe("over the wire", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  const orchestrator = () => server.client.orchestrator;

  test("a listing's cursor and a subscription from it give every session once", async () => {
    const made = new Set<string>();
    const label = { wave: "cursor" };
    const creating = Promise.all(
      Array.from({ length: 200 }, async () => {
        made.add((await orchestrator().createSession({ metadata: { labels: label } })).sessionId);
      }),
    );
    const { sessions, cursor } = await orchestrator().listSessions({ filter: { labels: label } });
    const filter = { types: [EventType.SESSION_CREATED], labels: label };
    const events = await read(server, { resumeAfter: cursor, filter }, 200 - sessions.length);
    await creating;
    const seen = [
      ...sessions.map(({ id }) => id),
      ...events.map(({ metadata }) => metadata?.sessionId ?? ""),
    ];
    expect(seen).toHaveLength(200);
    expect(new Set(seen)).toEqual(made);
  });

  test("listSessions() ties a page's token to its filter, whatever the order of the labels", async () => {
    const labels = { a: "1", b: "2", wave: "pages" };
    for (let index = 0; index < 5; index += 1) await orchestrator().createSession({ metadata: { labels } });
    const first = await orchestrator().listSessions({ filter: { labels }, pageSize: 3 });
    expect([first.sessions.length, first.totalCount]).toEqual([3, 5]);
    const pageToken = first.nextPageToken;
    const swapped = { wave: "pages", b: "2", a: "1" };
    const second = await orchestrator().listSessions({ filter: { labels: swapped }, pageSize: 3, pageToken });
    expect([second.sessions.length, second.nextPageToken]).toEqual([2, ""]);
    for (const [filter, token] of [
      [{ labels: { a: "1" } }, pageToken],
      [{ labels }, "garbage"],
      [{ labels }, Buffer.from('[{},"x","y"]').toString("base64url")],
      [{ labels }, Buffer.from("[]").toString("base64url")],
      [{ labels }, `${pageToken}AAAA`],
    ] as const) {
      expect(await failure(orchestrator().listSessions({ filter, pageToken: token }))).toMatchObject({
        kind: "invalid_argument",
        details: { violations: [{ field: "page_token" }] },
      });
    }
  });

  test("updateSession() without a mask changes what is not zero, with one exactly what it names", async () => {
    const { sessionId } = await orchestrator().createSession({
      metadata: { name: "n", description: "d", labels: { a: "1" }, tags: ["t"] },
      config: { maxContainers: 5, allowedImages: ["alpine"], policy: { allowNetwork: true } },
    });
    const update = async (
      request: Omit<MessageInitShape<typeof UpdateSessionRequestSchema>, "sessionId" | "$typeName">,
    ) => (await orchestrator().updateSession({ ...request, sessionId })).session;
    const plain = await update({
      metadata: { description: "other" },
      context: { config: { maxContainers: 7 }, preferences: { theme: "dark", notifications: true } },
    });
    expect(plain?.metadata).toMatchObject({
      name: "n",
      description: "other",
      labels: { a: "1" },
      tags: ["t"],
    });
    expect(plain?.context?.config).toMatchObject({
      maxContainers: 7,
      allowedImages: ["alpine"],
      policy: { allowNetwork: true },
    });
    expect(plain?.context?.preferences).toMatchObject({ theme: "dark", notifications: true });

    const paths = ["metadata.labels", "context.config.policy", "context.preferences.notifications"];
    const masked = await update({ metadata: { name: "not named" }, updateMask: { paths } });
    expect(masked?.metadata).toMatchObject({ name: "n", description: "other", labels: {}, tags: ["t"] });
    expect(masked?.context?.config?.policy?.allowNetwork).toBe(false);
    expect(masked?.context?.preferences).toMatchObject({ theme: "dark", notifications: false });

    for (const path of ["id", "metadata.nothing", "", "metadata.", "context.messages"]) {
      expect(await failure(update({ updateMask: { paths: [path] } }))).toMatchObject({
        kind: "invalid_argument",
        details: { violations: [{ field: "update_mask" }] },
      });
    }
  });

  test("subscribeEvents() replays from start_time and ends at end_time", async () => {
    const { sessionId } = await orchestrator().createSession({});
    const message = { role: MessageRole.SYSTEM, content: "x" };
    const stamps: number[] = [];
    for (let index = 0; index < 3; index += 1) {
      const { timestamp } = await orchestrator().sendMessage({ sessionId, message });
      stamps.push(Number(timestamp?.seconds ?? 0n) * 1_000 + (timestamp?.nanos ?? 0) / 1e6);
      // Each message has a time of its own.
      while (Date.now() <= (stamps.at(-1) ?? 0)) await new Promise((resolve) => setImmediate(resolve));
    }
    const [, from = 0, until = 0] = stamps;
    const startTime = timestampFromMs(from);
    expect(await read(server, { filter: { sessionId, startTime } }, 2)).toHaveLength(2);
    const ended = await read(
      server,
      { filter: { sessionId, startTime, endTime: timestampFromMs(until) } },
      99,
    );
    expect(ended.map(({ data }) => data.ordinal)).toEqual(["2"]);
    const all = await read(
      server,
      { fromStart: true, filter: { sessionId, endTime: timestampFromMs(until + 1) } },
      99,
    );
    expect(all.map(({ type }) => type)).toEqual([
      EventType.SESSION_CREATED,
      ...Array.from({ length: 3 }, () => EventType.MESSAGE_CREATED),
    ]);
  });

  test("subscribeEvents() says exactly what is wrong with a cursor", async () => {
    const { cursor } = await orchestrator().listSessions({});
    const [epoch = "", position = ""] = cursor.split("-");
    for (const [resumeAfter, expected] of [
      ["nonsense", { kind: "invalid_argument", details: { violations: [{ field: "resume_after" }] } }],
      [
        `${epoch}-${Number(position) + 1_000_000}`,
        { kind: "out_of_range", details: { reason: "CURSOR_AHEAD" } },
      ],
      [`${"0".repeat(epoch.length)}-1`, { kind: "out_of_range", details: { reason: "CURSOR_OTHER_LOG" } }],
    ] as const) {
      expect(await failure(read(server, { resumeAfter }, 1))).toMatchObject(expected);
    }
    const two = failure(read(server, { resumeAfter: cursor, fromStart: true }, 1));
    expect(await two).toMatchObject({ kind: "invalid_argument" });
  });

  test("subscribeEvents() begins now when it is told nothing, and its headers say where", async () => {
    await using stream = server.connect().orchestrator.subscribeEvents({});
    const headers = await stream.started();
    const { sessionId } = await orchestrator().createSession({});
    for await (const event of stream) {
      expect(event.metadata?.sessionId).toBe(sessionId);
      break;
    }
    const resumed = await read(server, { resumeAfter: headers.get("x-baaaht-cursor") ?? "" }, 1);
    expect(resumed[0]?.metadata?.sessionId).toBe(sessionId);
  });

  test("subscribeEvents() tells an idle reader by bookmarks how far it has come", async () => {
    const filter = { sessionId: "nobody" };
    const [bookmark] = await read(server, { filter, bookmarkIntervalNs: 100_000_000n }, 1);
    expect(bookmark?.type).toBe(EventType.BOOKMARK);
    await orchestrator().createSession({ metadata: { name: "after the bookmark" } });
    const [next] = await read(server, { resumeAfter: bookmark?.cursor ?? "" }, 1);
    expect(next?.data.name).toBe("after the bookmark");
  });
});

type Calls = TestServer["client"]["orchestrator"];

/** The first `count` events of a subscription, or fewer when it ends. */
async function read(
  server: TestServer,
  request: Parameters<Calls["subscribeEvents"]>[0],
  count: number,
): Promise<Event[]> {
  const events: Event[] = [];
  if (count === 0) return events;
  await using stream = server.connect().orchestrator.subscribeEvents(request);
  for await (const event of stream) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

async function failure(call: Promise<unknown>): Promise<Failure> {
  const outcome = await call.then(
    () => "it did not fail",
    (error: unknown) => error,
  );
  if (outcome instanceof Failure) return outcome;
  throw new Error(`it ended otherwise: ${String(outcome)}`);
}
