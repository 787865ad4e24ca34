import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  EventType,
  EventTypeSchema,
  MessageRole,
  type StreamMessageResponse,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { enumName } from "../crash/enum-name.ts";
import { startServer, type TestServer } from "../server.ts";
import { openMessages } from "./open-messages.ts";
import { startAssistant } from "./test-assistant.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
}, 30_000);

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

async function session(): Promise<string> {
  return (await server.client.orchestrator.createSession({ metadata: { labels: { team: "red" } } }))
    .sessionId;
}

function send(sessionId: string, content: string, role: MessageRole = MessageRole.SYSTEM, id = "") {
  return server.client.orchestrator.sendMessage({ sessionId, message: { id, role, content } });
}

/** A frame in short: what it is, and of which message. */
function short(payload: StreamMessageResponse["payload"] | undefined): string {
  if (payload?.case === "message") return `message ${payload.value.content}`;
  if (payload?.case === "event")
    return `${enumName(EventTypeSchema, payload.value.type)} ${payload.value.data.role ?? ""}`.trim();
  return payload?.case ?? "end";
}

describe("StreamMessages()", () => {
  test("brings messages of other calls before their events, and of its own only the events", async () => {
    const sessionId = await session();
    await using stream = await openMessages(server.client, { sessionId });
    await send(sessionId, "other");
    expect(short(await stream.next())).toBe("message other");
    const event = await stream.next();
    expect(event).toMatchObject({ case: "event", value: { metadata: { labels: { team: "red" } } } });
    expect(short(event)).toBe("message_created system");
    stream.say("mine", "m1", MessageRole.TOOL);
    expect(await stream.next()).toMatchObject({
      case: "event",
      value: { type: EventType.MESSAGE_CREATED, data: { message_id: "m1", role: "tool" } },
    });
  });

  test("shows many streams of a session the same order", async () => {
    const sessionId = await session();
    const streams = await Promise.all(
      Array.from({ length: 5 }, () => openMessages(server.client, { sessionId })),
    );
    const reader = await openMessages(server.client, { sessionId });
    for (const [at, stream] of streams.entries()) {
      for (let index = 0; index < 20; index += 1) stream.say(`${at}/${index}`, "", MessageRole.SYSTEM);
      stream.halfClose();
    }
    const orders = await Promise.all(
      streams.map(async (stream) =>
        (await stream.rest()).flatMap((frame) =>
          frame.case === "event" ? [Number(frame.value.data.ordinal)] : [],
        ),
      ),
    );
    for (const order of orders) expect(order).toEqual(order.toSorted((one, other) => one - other));
    const seen: string[] = [];
    while (seen.length < 100) {
      const frame = await reader.next();
      if (frame?.case === "message") seen.push(frame.value.content);
    }
    const { messages } = await server.client.orchestrator.listMessages({ sessionId });
    expect(seen).toEqual(messages.map(({ content }) => content));
    for (const stream of [...streams, reader]) await stream[Symbol.asyncDispose]();
  });

  test("answers a heartbeat by a heartbeat, in the first frame too", async () => {
    const sessionId = await session();
    await using stream = await openMessages(server.client, {
      sessionId,
      payload: { case: "heartbeat", value: {} },
    });
    expect(short(await stream.next())).toBe("heartbeat");
    stream.frame({ sessionId, payload: { case: "heartbeat", value: {} } });
    expect(short(await stream.next())).toBe("heartbeat");
  });

  test("ends OK after the half-close, with all that was sent stored and answered", async () => {
    const sessionId = await session();
    await using assistant = await startAssistant(server.client);
    await using stream = await openMessages(server.client, {
      sessionId,
      payload: { case: "message", value: { role: MessageRole.USER, content: "Hello?" } },
    });
    stream.halfClose();
    (await assistant.question()).answer("Hello!");
    expect((await stream.rest()).map(short)).toEqual([
      "message_created user",
      "turn_started",
      "message Hello!",
      "message_created assistant",
      "turn_answered",
    ]);
  });

  test("tells by data.error that there is no assistant, and the message stays", async () => {
    const sessionId = await session();
    await using stream = await openMessages(server.client, { sessionId });
    stream.say("Anybody?", "m1");
    stream.halfClose();
    const frames = await stream.rest();
    expect(frames.map(short)).toEqual(["message_created user", "turn_failed"]);
    expect(frames[1]).toMatchObject({
      case: "event",
      value: {
        data: { message_id: "m1", reason: "NO_ASSISTANT", error: expect.stringContaining("no assistant") },
      },
    });
    const { messages } = await server.client.orchestrator.listMessages({ sessionId });
    expect(messages.map(({ id }) => id)).toEqual(["m1"]);
  });

  test("tells it of a question that came by another call, which without a stream is a message and no more", async () => {
    const sessionId = await session();
    const { orchestrator } = server.client;
    const cursor = (await orchestrator.listMessages({ sessionId })).cursor;
    await send(sessionId, "note", MessageRole.USER);
    await using stream = await openMessages(server.client, { sessionId, resumeAfter: cursor });
    await send(sessionId, "question", MessageRole.USER, "m2");
    expect(await stream.event(EventType.TURN_FAILED)).toMatchObject({ data: { message_id: "m2" } });
  });

  test("resumes behind a cursor, without a gap or a repeat", async () => {
    const sessionId = await session();
    await using before = await openMessages(server.client, { sessionId });
    for (const content of ["a", "b", "c"]) await send(sessionId, content);
    expect(short(await before.next())).toBe("message a");
    const { cursor } = await before.event(EventType.MESSAGE_CREATED);
    await using stream = await openMessages(server.client, { sessionId, resumeAfter: cursor });
    await send(sessionId, "d");
    stream.halfClose();
    expect((await stream.rest()).filter(({ case: kind }) => kind === "message").map(short)).toEqual([
      "message b",
      "message c",
      "message d",
    ]);
  });

  test("acknowledges a message that was stored before by its event, without a cursor", async () => {
    const sessionId = await session();
    await send(sessionId, "again", MessageRole.SYSTEM, "m1");
    await using stream = await openMessages(server.client, { sessionId });
    stream.say("again", "m1", MessageRole.SYSTEM);
    expect(await stream.next()).toMatchObject({
      case: "event",
      value: { type: EventType.MESSAGE_CREATED, data: { message_id: "m1" }, cursor: "" },
    });
    expect((await server.client.orchestrator.listMessages({ sessionId })).totalCount).toBe(1);
  });

  test("ends OK with the session, and brings all of a closed one behind a cursor", async () => {
    const sessionId = await session();
    const { cursor } = await server.client.orchestrator.listMessages({ sessionId });
    await using stream = await openMessages(server.client, { sessionId });
    await send(sessionId, "last");
    await server.client.orchestrator.closeSession({ sessionId, reason: "done" });
    const all = ["message last", "message_created system", "session_closed"];
    expect((await stream.rest()).map(short)).toEqual(all);
    await using later = await openMessages(server.client, { sessionId, resumeAfter: cursor });
    expect((await later.rest()).map(short)).toEqual(all);
    const refused = await thrown(() => openMessages(server.client, { sessionId }));
    expect(refused).toMatchObject({ kind: "failed_precondition" });
  });

  test("refuses what names no session, an unknown one, or another one", async () => {
    expect(await thrown(() => openMessages(server.client, {}))).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "session_id" }] },
    });
    expect(await thrown(() => openMessages(server.client, { sessionId: "nobody" }))).toMatchObject({
      kind: "not_found",
    });
    await using stream = await openMessages(server.client, { sessionId: await session() });
    stream.frame({ sessionId: await session(), payload: { case: "heartbeat", value: {} } });
    expect(await thrown(() => stream.next())).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "session_id" }] },
    });
  });
});
