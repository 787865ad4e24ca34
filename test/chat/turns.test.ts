import { describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { MessageType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import {
  GatewayEventType,
  GatewayMessageRole,
  StreamState,
} from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { EventType, MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { textOf } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession, openChat } from "./open-chat.ts";
import { openMessages } from "./open-messages.ts";
import { startAssistant } from "./test-assistant.ts";

/** A server of a test's own, in which little time is much. */
function quickServer(env: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  return startServer({
    env: {
      BAAAHT_CHAT_ASSISTANT_WAIT: "300ms",
      BAAAHT_CHAT_SILENCE_TIMEOUT: "300ms",
      ...env,
    },
  });
}

/** The roles and texts of a session's messages. */
async function messagesOf(server: TestServer, sessionId: string): Promise<readonly string[]> {
  const { messages } = await server.client.orchestrator.listMessages({ sessionId });
  return messages.map(
    ({ role, content }) => `${role === MessageRole.USER ? "user" : "assistant"}: ${content}`,
  );
}

/** Sends to an agent that does not read until its queue takes no more. */
async function fillQueue(client: Client, agentId: string): Promise<void> {
  for (const size of [64 * 1024, 1]) {
    const payload = { case: "dataMessage", value: { data: Buffer.alloc(size) } } as const;
    const message = { type: MessageType.DATA, payload };
    for (;;) {
      try {
        await client.agent.sendMessage({ agentId, message });
      } catch (error) {
        expect(Failure.from(error)?.details.reason).toBe("AGENT_QUEUE_FULL");
        break;
      }
    }
  }
}

describe("a turn", () => {
  test("that an assistant is silent in fails with its words on every surface, and the message stays", async () => {
    await using server = await quickServer();
    await using assistant = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    await using stream = await openMessages(server.client, { sessionId });
    await using chat = await openChat(server.client, sessionId);
    chat.ask("Hello?", "m1");
    const question = await assistant.question();
    const { status, chunks } = await chat.turn();
    expect(status).toMatchObject({ state: StreamState.ERROR, reason: "ASSISTANT_SILENT", messageId: "m1" });
    expect(status.message).toContain("was silent for 0.3 s");
    expect(chunks).toEqual([]);
    const failed = await stream.event(EventType.TURN_FAILED);
    expect(failed.data.error).toBe(status.message);
    await using responses = server.client.gateway.streamResponses({ sessionId, messageId: "m1" });
    for await (const { payload } of responses)
      expect(payload).toMatchObject({ case: "status", value: status });
    expect(await assistant.cancelled()).toBe(question.message.metadata?.correlationId ?? "?");
    question.answer("too late");
    expect(await messagesOf(server, sessionId)).toEqual(["user: Hello?"]);
  });

  test("goes on while its assistant gives signs of life", async () => {
    await using server = await quickServer();
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    const question = await assistant.question();
    const begin = performance.now();
    while (performance.now() - begin < 700) {
      question.alive();
      await Bun.sleep(50); // the assistant's own time, in which it works
    }
    question.answer("Hello!");
    expect((await chat.turn()).text).toBe("Hello!");
  });

  test("keeps its session from being idle while the answer is made", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    const config = { idleTimeoutNs: 1_500_000_000n, enableStreaming: true };
    await using chat = await openChat(server.client, await gatewaySession(server.client, config));
    chat.ask("Take your time.");
    const question = await assistant.question();
    const begin = performance.now();
    while (performance.now() - begin < 2_500) {
      question.part(".");
      await Bun.sleep(100); // the assistant's own time, in which it works
    }
    question.end("done");
    expect((await chat.turn()).status.state).toBe(StreamState.COMPLETE);
  }, 30_000);

  test("that its assistant dies in fails at once with its words", async () => {
    await using server = await startServer();
    const assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    const question = await assistant.question();
    question.part("Hel");
    expect(await chat.next()).toMatchObject({ case: "chunk", value: { text: "Hel" } });
    await assistant.line[Symbol.asyncDispose]();
    const { status, chunks } = await chat.turn();
    expect(status).toMatchObject({ state: StreamState.ERROR, reason: "ASSISTANT_LOST" });
    expect(status.message).toContain("has gone in the middle of the turn");
    expect(chunks).toEqual([]);
    expect(await messagesOf(server, chat.sessionId)).toEqual(["user: Hello?"]);
  });

  test("is given to another assistant when the first one dies before it has said anything", async () => {
    await using server = await startServer();
    const first = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    await first.question();
    await using second = await startAssistant(server.client);
    await first[Symbol.asyncDispose]();
    const question = await second.question();
    expect(question.message.metadata?.headers.attempt).toBe("2");
    question.answer("Hello!");
    expect((await chat.turn()).text).toBe("Hello!");
  });

  test("that is given to another assistant is sent once to who follows the session's answers", async () => {
    await using server = await startServer();
    const first = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    await using responses = server.client.gateway.streamResponses({ sessionId });
    await responses.started();
    await using chat = await openChat(server.client, sessionId);
    chat.ask("one");
    await first.question();
    await using second = await startAssistant(server.client);
    await first[Symbol.asyncDispose]();
    (await second.question()).answer("re one");
    await chat.turn();
    chat.ask("two");
    (await second.question()).answer("re two");
    const seen: (string | StreamState)[] = [];
    for await (const { payload } of responses) {
      if (payload.case === "chunk") seen.push(payload.value.text);
      if (payload.case === "status") seen.push(payload.value.state);
      if (payload.case === "status" && seen.includes("re two")) break;
    }
    expect(seen).toEqual(["re one", StreamState.COMPLETE, "re two", StreamState.COMPLETE]);
  });

  test("is given to the same assistant again when its stream was cut before it had said anything", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    const first = await assistant.question();
    first.part("");
    await assistant.line[Symbol.asyncDispose]();
    await using back = await startAssistant(server.client, { agentId: assistant.id });
    const again = await back.question();
    expect(again.message.metadata?.headers).toMatchObject({ attempt: "2" });
    again.answer("Hello!");
    expect(await chat.turn()).toMatchObject({ text: "Hello!", status: { state: StreamState.COMPLETE } });
  });

  test("ends with the words of an assistant's ERROR", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    (await assistant.question()).fail("the model is out of tokens");
    expect((await chat.turn()).status).toMatchObject({
      state: StreamState.ERROR,
      reason: "ASSISTANT_ERROR",
      message: "the model is out of tokens",
    });
    chat.ask("Again?");
    (await assistant.question()).fail("");
    expect((await chat.turn()).status.message).toContain("does not say why");
  });

  test("waits for an assistant that is registered, and fails when none comes", async () => {
    await using server = await quickServer();
    const { agentId } = await server.client.agent.register({ name: "assistant", type: 3 });
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Anybody?");
    expect((await chat.turn()).status).toMatchObject({ state: StreamState.ERROR, reason: "NO_ASSISTANT" });
    chat.ask("Now?");
    await using assistant = await startAssistant(server.client, { agentId });
    (await assistant.question()).answer("Yes");
    expect((await chat.turn()).text).toBe("Yes");
  });

  test("of a session that is closed ends with it, and its assistant is told", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("one");
    chat.ask("two");
    await assistant.question();
    await server.client.orchestrator.closeSession({ sessionId: chat.sessionId });
    for (let index = 0; index < 2; index += 1)
      expect((await chat.turn()).status).toMatchObject({ reason: "SESSION_CLOSED" });
    expect(await chat.next()).toBeUndefined();
    await assistant.cancelled();
  });

  test("is one at a time in a session, and the others wait in order up to the bound", async () => {
    await using server = await startServer({ env: { BAAAHT_CHAT_MAX_WAITING: "2" } });
    await using assistant = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    const send = (content: string) =>
      server.client.gateway.gatewaySendMessage({
        sessionId,
        message: { role: GatewayMessageRole.USER, content },
      });
    for (const content of ["one", "two", "three"]) await send(content);
    expect(await thrown(() => send("four"))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_TURNS" },
    });
    for (const content of ["one", "two", "three"]) {
      const question = await assistant.question();
      expect(question.text).toBe(content);
      question.answer(`re ${content}`);
    }
    await using responses = server.client.gateway.streamResponses({ sessionId });
    await responses.started();
    await send("five");
    (await assistant.question()).answer("re five");
    const texts: string[] = [];
    for await (const { payload } of responses) {
      if (payload.case === "chunk") texts.push(payload.value.text);
      if (payload.case === "status" && texts.at(-1) === "re five") break;
    }
    expect(await messagesOf(server, sessionId)).toEqual([
      ...["one", "two", "three"].map((content) => `user: ${content}`),
      ...["one", "two", "three"].map((content) => `assistant: re ${content}`),
      "user: five",
      "assistant: re five",
    ]);
  });
});

describe("what an assistant sends", () => {
  test("late, twice, out of order, for another's turn or without sense changes nothing and is logged", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    await using stranger = await startAssistant(server.client, { name: "other" });
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    const question = await assistant.question();
    const correlationId = question.message.metadata?.correlationId ?? "";
    stranger.line.say("orchestrator", "I know!", correlationId);
    question.part("one ", { part: "0" });
    question.part("one ", { part: "0" });
    question.part("three", { part: "2" });
    question.part("two", { part: "1", final: "perhaps" });
    question.other({ sessionId: "another", text: "two" });
    question.part("two", { part: "1", final: "true" });
    question.part("three", { part: "2", final: "true" });
    question.answer("all over again");
    expect(await chat.turn()).toMatchObject({ text: "one two", status: { state: StreamState.COMPLETE } });
    chat.ask("And?");
    const next = await assistant.question();
    assistant.line.say("orchestrator", "for the first one", correlationId);
    next.answer("fine");
    expect((await chat.turn()).text).toBe("fine");
    expect(await messagesOf(server, chat.sessionId)).toEqual([
      "user: Hello?",
      "assistant: one two",
      "user: And?",
      "assistant: fine",
    ]);
    expect(server.logs()).toContain("counts for nothing");
  });

  test("in a flood for no turn costs others nothing", async () => {
    await using server = await startServer();
    await using flooding = await startAssistant(server.client, {
      name: "flooder",
      labels: { role: "assistant" },
    });
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    for (let index = 0; index < 5_000; index += 1) flooding.line.say("orchestrator", "x", "no-such-turn");
    chat.ask("Still there?");
    (await flooding.question()).answer("Yes");
    expect((await chat.turn()).text).toBe("Yes");
    const lines = server
      .logs()
      .split("\n")
      .filter((line) => line.includes("counts for nothing"));
    expect(lines.length).toBeLessThan(50);
  });

  test("that is larger than a message may be ends the turn, and the assistant is told", async () => {
    await using server = await startServer({ env: { BAAAHT_MESSAGES_MAX_CONTENT_BYTES: "1KiB" } });
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Talk!");
    const question = await assistant.question();
    for (let index = 0; index < 20; index += 1) question.part("x".repeat(100));
    expect((await chat.turn()).status).toMatchObject({ state: StreamState.ERROR, reason: "ANSWER_REFUSED" });
    await assistant.cancelled();
  });

  test("that can't be a message ends the turn with the words of why", async () => {
    await using server = await startServer({ env: { BAAAHT_MESSAGES_MAX_CONTENT_BYTES: "1KiB" } });
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("In bytes?");
    (await assistant.question()).end("\ufffd".repeat(300));
    expect((await chat.turn()).status.state).toBe(StreamState.COMPLETE);
    const nonsense = new Uint8Array(200).fill(0xff);
    chat.ask("Without sense?");
    const bytes = await assistant.question();
    for (let index = 0; index < 2; index += 1) bytes.part(nonsense);
    bytes.end();
    expect((await chat.turn()).status).toMatchObject({ state: StreamState.ERROR, reason: "ANSWER_REFUSED" });
    expect(server.logs()).not.toContain("can't be stored yet");
  });

  test("in an answer has its model and tokens kept with it, beside the question's id", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?", "q1");
    (await assistant.question()).end("Hello!", { model: "tiny", tokens_used: "3" });
    const { status } = await chat.turn();
    const { messages } = await server.client.orchestrator.listMessages({ sessionId: chat.sessionId });
    expect(messages[1]).toMatchObject({
      id: status.answerId,
      content: "Hello!",
      metadata: { extra: { reply_to: "q1", model: "tiny", tokens_used: "3" } },
    });
  });
});

describe("several assistants", () => {
  test("answer for each other: a question goes to another one when the queue of its own is full", async () => {
    await using server = await startServer({ env: { BAAAHT_AGENTS_MAX_QUEUED_BYTES: "256KiB" } });
    await using deaf = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("one");
    (await deaf.question()).answer("re one");
    expect((await chat.turn()).text).toBe("re one");
    await fillQueue(server.client, deaf.id);
    await using other = await startAssistant(server.client, { labels: { role: "assistant" }, name: "b" });
    for (const text of ["two", "three"]) {
      chat.ask(text);
      const question = await other.question();
      expect(question.text).toBe(text);
      question.answer(`re ${text}`);
      expect((await chat.turn()).text).toBe(`re ${text}`);
    }
    await fillQueue(server.client, other.id);
    chat.ask("four");
    expect((await chat.turn()).status).toMatchObject({ state: StreamState.ERROR, reason: "ASSISTANT_BUSY" });
  });

  test("share conversations by load, and each conversation stays with the one that it has", async () => {
    await using server = await startServer();
    await using one = await startAssistant(server.client);
    await using two = await startAssistant(server.client, { name: "second", labels: { role: "assistant" } });
    const chats = await Promise.all(
      [1, 2].map(async () => openChat(server.client, await gatewaySession(server.client))),
    );
    let texts: readonly string[] = [];
    for (let round = 0; round < 3; round += 1) {
      for (const [at, chat] of chats.entries()) chat.ask(`${at}`);
      const questions = await Promise.all([one.question(), two.question()]);
      if (round > 0) expect(questions.map(({ text }) => text)).toEqual([...texts]);
      else texts = questions.map(({ text }) => text);
      for (const question of questions) question.answer("ok");
      for (const chat of chats) await chat.turn();
    }
    expect(texts.toSorted()).toEqual(["0", "1"]);
    for (const chat of chats) await chat[Symbol.asyncDispose]();
  });
  test("are told apart by the session's label", async () => {
    await using server = await startServer();
    await using plain = await startAssistant(server.client);
    await using expert = await startAssistant(server.client, {
      name: "second",
      labels: { role: "assistant", assistant: "expert" },
    });
    const { orchestrator } = server.client;
    const wanted = await orchestrator.createSession({ metadata: { labels: { assistant: "expert" } } });
    const message = { role: MessageRole.USER, content: "law?" };
    await orchestrator.sendMessage({ sessionId: wanted.sessionId, message });
    expect((await expert.question()).text).toBe("law?");
    const other = await orchestrator.createSession({ metadata: { labels: { assistant: "nobody" } } });
    await using stream = await openMessages(server.client, { sessionId: other.sessionId });
    stream.say("hm?");
    expect((await stream.event(EventType.TURN_FAILED)).data.error).toContain('no assistant "nobody"');
    expect(plain.id).not.toBe(expert.id);
  });

  test("of one agent id: the newer stream gets the question that the older one had", async () => {
    await using server = await startServer();
    await using older = await startAssistant(server.client);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("Hello?");
    const first = await older.question();
    await using newer = await startAssistant(server.client, { agentId: older.id });
    const again = await newer.question();
    expect(again.text).toBe("Hello?");
    expect(again.message.metadata?.correlationId).not.toBe(first.message.metadata?.correlationId ?? "");
    again.answer("Hello!");
    expect((await chat.turn()).text).toBe("Hello!");
    expect(textOf(again.message)).toBe("Hello?");
  });
});

describe("events of a turn", () => {
  test("are told to a gateway session's subscriber, with the filters that it asks for", async () => {
    await using server = await startServer();
    await using assistant = await startAssistant(server.client);
    const sessionId = await gatewaySession(server.client);
    await using events = server.client.gateway.subscribeToEvents({ sessionId });
    await events.started();
    await using chat = await openChat(server.client, sessionId);
    chat.ask("Hello?", "q1");
    (await assistant.question()).answer("Hello!");
    await chat.turn();
    await server.client.gateway.closeGatewaySession({ sessionId, reason: "done" });
    const seen = [];
    for await (const event of events) seen.push(event);
    expect(seen.map(({ type }) => type)).toEqual([
      GatewayEventType.MESSAGE_SENT,
      GatewayEventType.STREAM_STARTED,
      GatewayEventType.MESSAGE_RECEIVED,
      GatewayEventType.STREAM_COMPLETE,
      GatewayEventType.SESSION_CLOSED,
    ]);
    expect(seen.at(-1)).toMatchObject({ source: "gateway.grpc", data: { reason: "done" } });
    for (const { metadata } of seen) expect(metadata?.sessionId).toBe(sessionId);
    const types = async (request: Parameters<typeof server.client.gateway.subscribeToEvents>[0]) => {
      await using replay = server.client.gateway.subscribeToEvents({ sessionId, ...request });
      const found = [];
      for await (const { type } of replay) found.push(type);
      return found;
    };
    expect(await types({ fromStart: true, filter: { type: GatewayEventType.STREAM_COMPLETE } })).toEqual([
      GatewayEventType.STREAM_COMPLETE,
    ]);
    expect(await types({ fromStart: true, filter: { source: "agent.grpc" } })).toEqual([
      GatewayEventType.MESSAGE_RECEIVED,
    ]);
    expect(await types({ resumeAfter: seen[3]?.cursor ?? "" })).toEqual([GatewayEventType.SESSION_CLOSED]);
    expect(await types({})).toEqual([]);
  });
});
