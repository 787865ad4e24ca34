import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession, openChat } from "./open-chat.ts";
import { startAssistant } from "./test-assistant.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

describe("StreamChat()", () => {
  test("answers a question with the assistant's one frame, and one COMPLETE status", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    const question = await assistant.question();
    expect(question.text).toBe("Hello?");
    question.answer("Hello!");
    const { text, chunks, status } = await chat.turn();
    expect(text).toBe("Hello!");
    expect(chunks.map(({ sequence, isFinal, isDelta }) => ({ sequence, isFinal, isDelta }))).toEqual([
      { sequence: 0, isFinal: true, isDelta: true },
    ]);
    expect(status).toMatchObject({ state: StreamState.COMPLETE, bytesSent: 6n, chunksSent: 1n });
  });

  test("streams an answer in parts while it is made", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Count");
    const question = await assistant.question();
    question.part("one ");
    expect(await chat.next()).toMatchObject({ case: "chunk", value: { text: "one ", sequence: 0 } });
    question.part("two");
    expect(await chat.next()).toMatchObject({ case: "chunk", value: { text: "two", sequence: 1 } });
    question.end();
    expect(await chat.next()).toMatchObject({
      case: "chunk",
      value: { text: "", isFinal: true, sequence: 2 },
    });
    expect(await chat.next()).toMatchObject({ case: "status", value: { state: StreamState.COMPLETE } });
  });

  test("without an assistant ends the turn with one ERROR status and no chunk", async () => {
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Anybody?");
    const { chunks, status } = await chat.turn();
    expect(chunks).toEqual([]);
    expect(status).toMatchObject({ state: StreamState.ERROR, reason: "NO_ASSISTANT" });
  });
});
