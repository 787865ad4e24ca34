import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { GatewayEventType, GatewayMessageRole } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession } from "./open-chat.ts";
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

function ask(sessionId: string, id: string) {
  const message = { id, role: GatewayMessageRole.USER, content: id };
  return server.client.gateway.gatewaySendMessage({ sessionId, message });
}

/** Why a question has no answer. */
async function reasonOf(sessionId: string, messageId: string): Promise<string> {
  await using responses = server.client.gateway.streamResponses({ sessionId, messageId });
  for await (const { payload } of responses) if (payload.case === "status") return payload.value.reason;
  throw new Error("the answers have ended without a status");
}

describe("a session that is closed", () => {
  test("at the same moment as a question is asked in it leaves none open", async () => {
    await using _assistant = await startAssistant(server.client);
    const asked = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const sessionId = await gatewaySession(server.client);
        const sending = ask(sessionId, `q${index}`).then(
          () => "stored",
          () => "refused",
        );
        await server.client.gateway.closeGatewaySession({ sessionId });
        return { sessionId, id: `q${index}`, how: await sending };
      }),
    );
    const stored = asked.filter(({ how }) => how === "stored");
    expect(stored.length).toBeGreaterThan(0);
    const reasons = await Promise.all(stored.map(({ sessionId, id }) => reasonOf(sessionId, id)));
    expect(new Set(reasons)).toEqual(new Set(["SESSION_CLOSED"]));
  });

  for (const [how, close] of [
    ["by a call", (sessionId: string) => server.client.gateway.closeGatewaySession({ sessionId })],
    ["by its time", () => undefined],
  ] as const) {
    test(`${how} tells those who watch it how its turns ended, before its end`, async () => {
      await using assistant = await startAssistant(server.client);
      const timeoutNs = how === "by a call" ? 0n : 1_000_000_000n;
      const sessionId = await gatewaySession(server.client, { timeoutNs });
      await using watcher = await openMessages(server.client, { sessionId });
      await using events = server.client.gateway.subscribeToEvents({ sessionId });
      await events.started();
      for (const id of ["one", "two"]) await ask(sessionId, id);
      await assistant.question();
      await close(sessionId);
      const told = (await watcher.rest()).flatMap((frame) => (frame.case === "event" ? [frame.value] : []));
      const end = told.slice(-3).map(({ type, data }) => [type, data.message_id ?? "", data.reason ?? ""]);
      const failed = ["one", "two"].map((id) => [EventType.TURN_FAILED, id, "SESSION_CLOSED"]);
      expect(end.slice(0, 2)).toEqual(failed);
      expect(end[2]?.[0]).toBe(EventType.SESSION_CLOSED);
      const seen: GatewayEventType[] = [];
      for await (const { type } of events) seen.push(type);
      const { STREAM_ERROR, SESSION_CLOSED } = GatewayEventType;
      expect(seen.slice(-3)).toEqual([STREAM_ERROR, STREAM_ERROR, SESSION_CLOSED]);
      await assistant.cancelled();
    });
  }

  test("shows the same to who reads it from the start when it is closed", async () => {
    await using _assistant = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    const { cursor } = await server.client.orchestrator.listMessages({ sessionId });
    await ask(sessionId, "one");
    await server.client.gateway.closeGatewaySession({ sessionId });
    await using later = await openMessages(server.client, { sessionId, resumeAfter: cursor });
    const types = (await later.rest()).flatMap((frame) => (frame.case === "event" ? [frame.value.type] : []));
    expect(types.slice(-2)).toEqual([EventType.TURN_FAILED, EventType.SESSION_CLOSED]);
    await using replay = server.client.gateway.subscribeToEvents({ sessionId, fromStart: true });
    const seen: GatewayEventType[] = [];
    for await (const { type } of replay) seen.push(type);
    expect(seen.slice(-2)).toEqual([GatewayEventType.STREAM_ERROR, GatewayEventType.SESSION_CLOSED]);
  });
});
