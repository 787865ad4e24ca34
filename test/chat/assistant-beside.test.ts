import { describe, expect, test } from "bun:test";
import { GatewayMessageRole, StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { EventType, MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession } from "./open-chat.ts";

const TIMEOUT_MS = 60_000;

/** A server with an assistant beside it that leaves at once when it has to, whatever it is at. */
function withAssistant(before?: TestServer): Promise<TestServer> {
  return startServer({
    flags: ["--assistant"],
    env: { BAAAHT_ASSISTANT_DRAIN_TIMEOUT: "0", BAAAHT_CHAT_ASSISTANT_WAIT: "40s" },
    ...(before === undefined ? {} : { dataDir: before.dataDir, socketPath: before.socketPath }),
  });
}

async function outcome(server: TestServer, sessionId: string, messageId: string) {
  await using responses = server.client.gateway.streamResponses({ sessionId, messageId });
  let text = "";
  for await (const { payload } of responses) {
    if (payload.case === "chunk") text += payload.value.text;
    if (payload.case === "status") return { text, state: payload.value.state };
  }
  throw new Error("the answers have ended without a status");
}

describe("a question to a server with an assistant beside it", () => {
  test(
    "that is asked as soon as it serves waits for the assistant, in every session",
    async () => {
      await using server = await withAssistant();
      const { orchestrator } = server.client;
      const { sessionId } = await orchestrator.createSession({});
      await using events = orchestrator.subscribeEvents({
        filter: { sessionId, types: [EventType.TURN_ANSWERED, EventType.TURN_FAILED] },
        fromStart: true,
      });
      await orchestrator.sendMessage({ sessionId, message: { role: MessageRole.USER, content: "early" } });
      for await (const { type } of events) {
        expect(type).toBe(EventType.TURN_ANSWERED);
        break;
      }
      const { messages } = await orchestrator.listMessages({ sessionId });
      expect(messages.map(({ content }) => content)).toEqual(["early", "early"]);
    },
    TIMEOUT_MS,
  );

  test(
    "that is open when the server is stopped is answered when it is back, with those behind it",
    async () => {
      await using server = await withAssistant();
      await server.logged("assistant: ready as agent");
      const sessionId = await gatewaySession(server.client);
      await using events = server.client.orchestrator.subscribeEvents({
        filter: { sessionId, types: [EventType.TURN_STARTED] },
      });
      await events.started();
      for (const id of ["!wait 3s", "two", "three"]) {
        const message = { id, role: GatewayMessageRole.USER, content: id };
        await server.client.gateway.gatewaySendMessage({ sessionId, message });
      }
      for await (const _ of events) break; // an assistant has the first
      expect(await server.stop()).toBe(0);
      await using again = await withAssistant(server);
      for (const id of ["!wait 3s", "two", "three"])
        expect((await outcome(again, sessionId, id)).state).toBe(StreamState.COMPLETE);
    },
    TIMEOUT_MS,
  );
});
