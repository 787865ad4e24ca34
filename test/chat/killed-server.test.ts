import { describe, expect, test } from "bun:test";
import { GatewayMessageRole, StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession } from "./open-chat.ts";
import { startAssistant } from "./test-assistant.ts";

function again(server: TestServer, env: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  return startServer({ dataDir: server.dataDir, socketPath: server.socketPath, env });
}

function ask(server: TestServer, sessionId: string, id: string) {
  const message = { id, role: GatewayMessageRole.USER, content: id };
  return server.client.gateway.gatewaySendMessage({ sessionId, message });
}

/** The answer to a question, as it ends. */
async function outcome(server: TestServer, sessionId: string, messageId: string) {
  await using responses = server.client.gateway.streamResponses({ sessionId, messageId });
  let text = "";
  for await (const { payload } of responses) {
    if (payload.case === "chunk") text += payload.value.text;
    if (payload.case === "status") return { text, status: payload.value };
  }
  throw new Error("the answers have ended without a status");
}

describe("a server", () => {
  test("that is killed in the middle of a turn asks again, and takes only the answer to that", async () => {
    await using server = await startServer();
    const sessionId = await gatewaySession(server.client);
    await using before = await startAssistant(server.client);
    for (const id of ["q1", "q2"]) await ask(server, sessionId, id);
    const first = await before.question();
    first.part("half of");
    await server.kill();
    await using next = await again(server);
    await using assistant = await startAssistant(next.client, { agentId: before.id });
    const question = await assistant.question();
    expect(question.text).toBe("q1");
    expect(question.message.metadata?.headers.attempt).toBe("2");
    assistant.line.say("orchestrator", "the one of before", first.message.metadata?.correlationId ?? "");
    question.answer("re q1");
    (await assistant.question()).answer("re q2");
    for (const id of ["q1", "q2"])
      expect(await outcome(next, sessionId, id)).toMatchObject({
        text: `re ${id}`,
        status: { state: StreamState.COMPLETE },
      });
    const { messages } = await next.client.orchestrator.listMessages({ sessionId });
    expect(messages.map(({ content }) => content)).toEqual(["q1", "q2", "re q1", "re q2"]);
    expect(messages.filter(({ role }) => role === MessageRole.ASSISTANT)).toHaveLength(2);
  });

  test("that is stopped in order does the same", async () => {
    await using server = await startServer();
    const sessionId = await gatewaySession(server.client);
    await using before = await startAssistant(server.client);
    await ask(server, sessionId, "q1");
    await before.question();
    expect(await server.stop()).toBe(0);
    await using next = await again(server);
    await using assistant = await startAssistant(next.client, { agentId: before.id });
    (await assistant.question()).answer("re q1");
    expect((await outcome(next, sessionId, "q1")).text).toBe("re q1");
  });

  test("that was killed too often in the middle of a turn fails it, and says so", async () => {
    const env = { BAAAHT_CHAT_MAX_ATTEMPTS: "1" };
    await using server = await startServer({ env });
    const sessionId = await gatewaySession(server.client);
    await using assistant = await startAssistant(server.client);
    await ask(server, sessionId, "q1");
    await assistant.question();
    await server.kill();
    await using next = await again(server, env);
    expect((await outcome(next, sessionId, "q1")).status).toMatchObject({
      state: StreamState.ERROR,
      reason: "SERVER_STOPPED",
    });
  });

  test("that is killed while a question waits for an assistant goes on to wait, for as long as it may", async () => {
    await using server = await startServer();
    const sessionId = await gatewaySession(server.client);
    await server.client.agent.register({ name: "assistant", type: 3 });
    await ask(server, sessionId, "q1");
    await server.kill();
    await using next = await again(server, { BAAAHT_CHAT_ASSISTANT_WAIT: "200ms" });
    expect((await outcome(next, sessionId, "q1")).status).toMatchObject({
      state: StreamState.ERROR,
      reason: "NO_ASSISTANT",
    });
  });
});
