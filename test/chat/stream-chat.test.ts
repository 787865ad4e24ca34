import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  GatewayEventType,
  GatewayMessageRole,
  StreamState,
} from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession, type OpenChat, openChat } from "./open-chat.ts";
import { startAssistant } from "./test-assistant.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
}, 30_000);

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

  test("cuts by bytes and never in a character, whatever the size is", async () => {
    await using assistant = await startAssistant(server.client);
    const text = "a\u{1F600}\u{1F600}é€ end";
    for (const [chunkSize, expected] of [
      [1n, ["a", "\u{1F600}", "\u{1F600}", "é", "€", " ", "e", "n", "d"]],
      [5n, ["a\u{1F600}", "\u{1F600}", "é€", " end"]],
      [1_000n, [text]],
      [0n, [text]],
    ] as const) {
      const config = { streamConfig: { chunkSize, enableDelta: true } };
      await using chat = await openChat(server.client, await gatewaySession(server.client, config));
      chat.ask("?");
      (await assistant.question()).answer(text);
      const { chunks, status } = await chat.turn();
      expect(chunks.map((chunk) => chunk.text)).toEqual([...expected]);
      expect(chunks.map(({ sequence }) => sequence)).toEqual(chunks.map((_, index) => index));
      expect(chunks.map(({ isFinal }) => isFinal)).toEqual(chunks.map((_, at) => at === chunks.length - 1));
      expect(status.bytesSent).toBe(BigInt(Buffer.byteLength(text)));
      expect(status.chunksSent).toBe(BigInt(chunks.length));
    }
  });

  test("sends all so far without enable_delta, and waits for the whole without enable_streaming", async () => {
    await using assistant = await startAssistant(server.client);
    const config = { enableStreaming: true, streamConfig: {} };
    await using chat = await openChat(server.client, await gatewaySession(server.client, config));
    chat.ask("?");
    const question = await assistant.question();
    question.part("a");
    question.part("b");
    question.end("c");
    const { chunks } = await chat.turn();
    expect(chunks.map(({ text, isDelta }) => `${text} ${isDelta}`)).toEqual([
      "a false",
      "ab false",
      "abc false",
    ]);
    await using whole = await openChat(
      server.client,
      await gatewaySession(server.client, { maxMessageSize: 100 }),
    );
    whole.ask("?");
    const other = await assistant.question();
    other.part("a");
    other.end("b");
    expect((await whole.turn()).chunks).toMatchObject([{ text: "ab", isFinal: true, isDelta: true }]);
  });

  test("leaves chunk_delay_ns between chunks", async () => {
    await using assistant = await startAssistant(server.client);
    const config = { streamConfig: { chunkSize: 1n, chunkDelayNs: 30_000_000n, enableDelta: true } };
    await using chat = await openChat(server.client, await gatewaySession(server.client, config));
    chat.ask("?");
    (await assistant.question()).answer("abc");
    const first = await chat.next();
    const begin = performance.now();
    expect(first?.case).toBe("chunk");
    expect((await chat.turn()).chunks).toHaveLength(2);
    expect(performance.now() - begin).toBeGreaterThan(45);
  });

  test("answers several questions of one stream in their order, and all of them after the half-close", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    for (const text of ["one", "two", "three"]) chat.ask(text);
    chat.frame({ payload: { case: "heartbeat", value: {} } });
    chat.halfClose();
    for (const text of ["one", "two", "three"]) {
      const question = await assistant.question();
      expect(question.text).toBe(text);
      question.answer(`re ${text}`);
      expect((await chat.turn()).text).toBe(`re ${text}`);
    }
    expect(await chat.next()).toBeUndefined();
  });

  test("gives each of two callers of one session the answer to its own question", async () => {
    await using assistant = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    await using one = await openChat(server.client, sessionId);
    await using two = await openChat(server.client, sessionId);
    one.ask("from one");
    const first = await assistant.question();
    two.ask("from two");
    two.cancel();
    expect((await two.turn()).status.state).toBe(StreamState.CANCELLED);
    two.ask("two again");
    first.answer("to one");
    expect((await one.turn()).text).toBe("to one");
    (await assistant.question()).answer("to two");
    expect((await two.turn()).text).toBe("to two");
  });

  test("cancels in every phase with CANCELLED, and the assistant is told", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.cancel("nothing to cancel");
    chat.ask("asked");
    const asked = await assistant.question();
    chat.cancel("enough");
    expect((await chat.turn()).status).toMatchObject({ state: StreamState.CANCELLED, message: "enough" });
    expect(await assistant.cancelled()).toBe(asked.message.metadata?.correlationId ?? "?");
    asked.answer("too late");
    chat.ask("begun");
    const begun = await assistant.question();
    begun.part("on");
    expect(await chat.next()).toMatchObject({ case: "chunk", value: { text: "on" } });
    chat.cancel();
    const { status, chunks } = await chat.turn();
    expect(status).toMatchObject({ state: StreamState.CANCELLED, chunksSent: 1n, bytesSent: 2n });
    expect(chunks).toEqual([]);
    await assistant.cancelled();
    chat.ask("done");
    (await assistant.question()).answer("whole");
    expect((await chat.turn()).status.state).toBe(StreamState.COMPLETE);
    chat.cancel("after the end");
    chat.ask("first");
    const first = await assistant.question();
    chat.ask("waits");
    chat.ask("waits too");
    chat.cancel("all of it", "force");
    for (let index = 0; index < 3; index += 1)
      expect((await chat.turn()).status.state).toBe(StreamState.CANCELLED);
    expect(await assistant.cancelled()).toBe(first.message.metadata?.correlationId ?? "?");
    const { messages } = await server.client.orchestrator.listMessages({ sessionId: chat.sessionId });
    expect(messages.map(({ content }) => content)).toEqual([
      ...["asked", "begun", "done", "whole", "first", "waits", "waits too"],
    ]);
  });

  test("cancels the answer that is being sent when it is whole already, and not the question behind it", async () => {
    await using assistant = await startAssistant(server.client);
    const config = {
      enableStreaming: true,
      streamConfig: { chunkSize: 1n, chunkDelayNs: 1_000_000_000n, enableDelta: true },
    };
    await using chat = await openChat(server.client, await gatewaySession(server.client, config));
    chat.ask("one", "q1");
    chat.ask("two", "q2");
    (await assistant.question()).answer("0123456789".repeat(10));
    expect(await chat.next()).toMatchObject({ case: "chunk", value: { text: "0" } });
    const second = await assistant.question();
    expect(second.text).toBe("two");
    chat.cancel("enough");
    const { status, chunks } = await chat.turn();
    expect(status).toMatchObject({ state: StreamState.CANCELLED, message: "enough", messageId: "q1" });
    expect(status.chunksSent).toBe(BigInt(1 + chunks.length));
    expect(status.answerId).not.toBe("");
    second.answer("2");
    const next = await chat.turn();
    expect(next).toMatchObject({ text: "2", status: { state: StreamState.COMPLETE, messageId: "q2" } });
    const { messages } = await server.client.orchestrator.listMessages({ sessionId: chat.sessionId });
    expect(messages.map(({ content }) => content.length)).toEqual([3, 3, 100, 1]);
  });

  test("reads no more from a client whose questions fill the session's queue, and answers all of them", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    const all = Array.from({ length: 80 }, (_, index) => `${index}`);
    for (const text of all) chat.ask(text);
    chat.halfClose();
    const answering = (async () => {
      for (const _ of all) {
        const question = await assistant.question();
        question.answer(`re ${question.text}`);
      }
    })();
    for (const text of all) expect((await chat.turn()).text).toBe(`re ${text}`);
    expect(await chat.next()).toBeUndefined();
    await answering;
  });

  test("heeds a cancel while a question before it waits for room in the session's queue", async () => {
    await using own = await startServer({ env: { BAAAHT_CHAT_MAX_WAITING: "1" } });
    await using assistant = await startAssistant(own.client);
    await using chat = await openChat(own.client, await gatewaySession(own.client));
    for (const text of ["with the assistant", "waits", "waits for room", "behind it"]) chat.ask(text);
    const question = await assistant.question();
    chat.cancel("not that");
    expect(await assistant.cancelled()).toBe(question.message.metadata?.correlationId ?? "?");
    expect((await chat.turn()).status).toMatchObject({ state: StreamState.CANCELLED, message: "not that" });
    const next = await assistant.question();
    expect(next.text).toBe("waits");
    chat.cancel("nothing at all", "force");
    for (let left = 3; left > 0; left -= 1)
      expect((await chat.turn()).status).toMatchObject({
        state: StreamState.CANCELLED,
        message: "nothing at all",
      });
    chat.ask("the last");
    let last = await assistant.question();
    // It may have got those that had to be stored to be given up.
    while (last.text !== "the last") last = await assistant.question();
    last.answer("done");
    expect((await chat.turn()).text).toBe("done");
  });

  test("answers what it has taken before it ends with what is wrong with a frame", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("one");
    chat.ask("two");
    chat.frame({ sessionId: "other", payload: { case: "heartbeat", value: {} } });
    for (const text of ["one", "two"]) {
      (await assistant.question()).answer(`re ${text}`);
      expect((await chat.turn()).text).toBe(`re ${text}`);
    }
    expect(await thrown(() => chat.next())).toMatchObject({ kind: "invalid_argument" });
  });

  test("gives the whole answer again to who asks the same again, and StreamResponses has it when the caller is gone", async () => {
    await using assistant = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    const leaving = await openChat(server.client, sessionId);
    leaving.ask("Hello?", "q1");
    const question = await assistant.question();
    await leaving[Symbol.asyncDispose]();
    question.part("Hel");
    await using chat = await openChat(server.client, sessionId);
    chat.ask("Hello?", "q1");
    expect(await chat.next()).toMatchObject({ case: "chunk", value: { text: "Hel", sequence: 0 } });
    question.end("lo!");
    expect((await chat.turn()).text).toBe("lo!");
    for (const options of [{ chunkSize: 2n, includeMetadata: true }, { includeEvents: true }]) {
      await using responses = server.client.gateway.streamResponses({ sessionId, messageId: "q1", options });
      const chunks: string[] = [];
      let metadata = 0;
      for await (const { payload } of responses) {
        if (payload.case === "chunk") chunks.push(payload.value.text);
        if (payload.case === "chunk" && payload.value.metadata !== undefined) metadata += 1;
      }
      expect(chunks).toEqual("chunkSize" in options ? ["He", "ll", "o!"] : ["Hello!"]);
      expect(metadata).toBe("chunkSize" in options ? 3 : 0);
    }
  });

  test("stores other messages and says so by an event", async () => {
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.frame({
      payload: { case: "message", value: { id: "s1", role: GatewayMessageRole.SYSTEM, content: "Be kind." } },
    });
    expect(await chat.next()).toMatchObject({
      case: "event",
      value: { type: GatewayEventType.MESSAGE_SENT, metadata: { messageId: "s1" } },
    });
  });

  test("takes any text as it is: none, control characters, and a large one", async () => {
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    for (const text of ["", "\u0000\u001b[31m\u{10FFFF}", "é".repeat(500_000)]) {
      chat.ask(text);
      const question = await assistant.question();
      expect(question.text === text).toBe(true);
      question.answer(text);
      expect((await chat.turn()).text === text).toBe(true);
    }
  });

  test("refuses what is wrong, each with its field", async () => {
    const sessionId = await gatewaySession(server.client, { maxMessageSize: 4, enableStreaming: true });
    const refused = async (frame: Parameters<OpenChat["frame"]>[0]) => {
      await using chat = await openChat(server.client, sessionId);
      chat.frame(frame);
      return await thrown(() => chat.next());
    };
    const message = (more: {
      content?: string;
      role?: GatewayMessageRole;
      metadata?: { sessionId: string };
    }) =>
      refused({
        payload: { case: "message", value: { role: GatewayMessageRole.USER, content: "hi", ...more } },
      });
    for (const [failure, field] of [
      [await message({ content: "é€" }), "message.content"],
      [await message({ role: GatewayMessageRole.UNSPECIFIED }), "message.role"],
      [await message({ metadata: { sessionId: "other" } }), "message.metadata.session_id"],
      [await refused({ sessionId: "other", payload: { case: "heartbeat", value: {} } }), "session_id"],
      [await thrown(() => openChat(server.client, "")), "session_id"],
    ] as const) {
      expect(failure).toMatchObject({ kind: "invalid_argument", details: { violations: [{ field }] } });
    }
    const { sessionId: plain } = await server.client.orchestrator.createSession({});
    for (const unknown of [plain, "nobody"])
      expect(await thrown(() => openChat(server.client, unknown))).toMatchObject({ kind: "not_found" });
    await server.client.gateway.closeGatewaySession({ sessionId });
    expect(await thrown(() => openChat(server.client, sessionId))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "SESSION_CLOSED" },
    });
  });

  test("ends OK when its session is closed and it waits for nothing", async () => {
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    await server.client.orchestrator.closeSession({ sessionId: chat.sessionId });
    expect(await chat.next()).toBeUndefined();
  });

  test("without an assistant ends the turn with one ERROR status and no chunk", async () => {
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Anybody?");
    const { chunks, status } = await chat.turn();
    expect(chunks).toEqual([]);
    expect(status).toMatchObject({ state: StreamState.ERROR, reason: "NO_ASSISTANT" });
  });
});
