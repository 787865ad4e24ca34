import { beforeAll, expect, test } from "bun:test";
import { GatewayMessageRole, StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { EventType, MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { gatewaySession, openChat } from "../chat/open-chat.ts";
import { engine, type TestEngine } from "../engine.ts";
import { startServer, type TestServer } from "../server.ts";
import { ModelServer, type Reply } from "./model-server.ts";

const TIMEOUT_MS = 60_000;

let host: TestEngine;

beforeAll(async () => {
  host = await engine();
}, 300_000);

/** A server with an assistant beside it that asks this model. */
async function answeredBy(
  model: ModelServer,
  env: Readonly<Record<string, string>> = {},
): Promise<TestServer> {
  const server = await startServer({
    dockerHost: host.dockerHost,
    flags: ["--assistant"],
    env: {
      BAAAHT_ASSISTANT_BASE_URL: model.baseUrl,
      BAAAHT_ASSISTANT_MODEL: "small",
      BAAAHT_ASSISTANT_KEY: "sk-very-secret",
      BAAAHT_ASSISTANT_IMAGE: host.image,
      ...env,
    },
  });
  await server.logged("assistant: ready as agent");
  return server;
}

function running(command: string): Reply {
  return { kind: "calls", calls: [{ name: "run_command", arguments: JSON.stringify({ command }) }] };
}

test(
  "a model's calls run in the session's sandbox, are messages of the session and in the log, and the key is nowhere",
  async () => {
    await using model = new ModelServer(
      running("echo 42 > answer; cat answer"),
      { kind: "text", pieces: ["It is ", "42."] },
      running("cat answer"),
      { kind: "text", pieces: ["Still 42."] },
    );
    await using server = await answeredBy(model);
    const { client } = server;
    const sessionId = await gatewaySession(client);
    await using chat = await openChat(client, sessionId);
    chat.ask("what is the answer?");
    expect((await chat.turn()).text).toBe("It is 42.");
    chat.ask("and now?");
    expect((await chat.turn()).text).toBe("Still 42.");
    const { messages } = await client.orchestrator.listMessages({ sessionId });
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      [MessageRole.USER, "what is the answer?"],
      [MessageRole.TOOL, '{"command":"echo 42 > answer; cat answer"}'],
      [MessageRole.TOOL, "42\n[exit code 0]"],
      [MessageRole.ASSISTANT, "It is 42."],
      [MessageRole.USER, "and now?"],
      [MessageRole.TOOL, '{"command":"cat answer"}'],
      [MessageRole.TOOL, "42\n[exit code 0]"],
      [MessageRole.ASSISTANT, "Still 42."],
    ]);
    // The model has seen what it did in the turn before.
    expect(model.asked[3]?.body.messages.map(({ role }) => role)).toEqual([
      ...["system", "user", "assistant", "tool", "assistant", "user", "assistant", "tool"],
    ]);
    const { containers } = await client.orchestrator.listContainers({ filter: { sessionId } });
    expect(containers.map(({ config }) => [config?.image, config?.labels])).toEqual([
      [host.image, { assistant: "sandbox" }],
    ]);
    await client.gateway.closeGatewaySession({ sessionId }, { timeoutMs: 30_000 });
    let log = "";
    for await (const { type, data } of client.orchestrator.subscribeEvents({
      fromStart: true,
      filter: { sessionId },
    })) {
      log += JSON.stringify(data);
      if (type === EventType.SESSION_CLOSED) break;
    }
    expect(log + server.logs()).not.toContain("sk-very-secret");
    expect(model.asked[0]?.key).toBe("Bearer sk-very-secret");
  },
  TIMEOUT_MS,
);

test(
  "questions that have waited are given to the model behind the answers before them, by the model that they ask for",
  async () => {
    await using model = new ModelServer(
      running("echo 1"), // a container has to be made, while the others are asked
      { kind: "text", pieces: ["first"], usage: [10, 2] },
      { kind: "text", pieces: ["second"] },
      { kind: "text", pieces: ["third"] },
    );
    await using server = await answeredBy(model);
    const { client } = server;
    const sessionId = await gatewaySession(client);
    await using chat = await openChat(client, sessionId);
    for (const word of ["one", "two", "three"]) chat.ask(word);
    const role = GatewayMessageRole.USER;
    chat.frame({
      payload: { case: "message", value: { role, content: "four", metadata: { model: "large" } } },
    });
    for (const word of ["first", "second", "third"]) expect((await chat.turn()).text).toBe(word);
    expect((await chat.turn()).status.message).toContain('this assistant answers by "small" alone');
    expect(model.asked.at(-1)?.body.messages.slice(1)).toMatchObject([
      { role: "user", content: "one" },
      { role: "assistant" },
      { role: "tool", content: "1\n[exit code 0]" },
      { role: "assistant", content: "first" },
      { role: "user", content: "two" },
      { role: "assistant", content: "second" },
      { role: "user", content: "three" },
    ]);
    const { messages } = await client.orchestrator.listMessages({ sessionId });
    const answer = messages.find(({ content }) => content === "first");
    expect(answer?.metadata?.extra).toMatchObject({ model: "small", tokens_used: "12" });
    await client.gateway.closeGatewaySession({ sessionId }, { timeoutMs: 30_000 });
  },
  TIMEOUT_MS,
);

test(
  "cancelling a turn ends the command that its assistant runs",
  async () => {
    await using model = new ModelServer(running("echo begun > /tmp/word; sleep 600"), {
      kind: "text",
      pieces: ["never said"],
    });
    await using server = await answeredBy(model);
    const { client } = server;
    const sessionId = await gatewaySession(client);
    await using chat = await openChat(client, sessionId);
    await using execs = client.orchestrator.subscribeEvents({
      filter: { sessionId, types: [EventType.EXEC_STARTED, EventType.EXEC_FINISHED] },
    });
    await execs.started();
    chat.ask("sleep");
    const seen: EventType[] = [];
    for await (const { type } of execs) {
      seen.push(type);
      if (type === EventType.EXEC_STARTED) chat.cancel("enough");
      else break;
    }
    expect((await chat.turn()).status.state).toBe(StreamState.CANCELLED);
    expect(seen).toEqual([EventType.EXEC_STARTED, EventType.EXEC_FINISHED]);
    await client.gateway.closeGatewaySession({ sessionId }, { timeoutMs: 30_000 });
  },
  TIMEOUT_MS,
);

test(
  "what is wrong with the model is told to who has asked, in words that help",
  async () => {
    await using model = new ModelServer({
      kind: "status",
      status: 401,
      body: '{"error":{"message":"no such key"}}',
    });
    await using server = await answeredBy(model);
    await using chat = await openChat(server.client, await gatewaySession(server.client));
    chat.ask("hello");
    const { status } = await chat.turn();
    expect(status.state).toBe(StreamState.ERROR);
    expect(status.message).toContain(
      "it answers 401 (no such key); assistant.key-file or BAAAHT_ASSISTANT_KEY",
    );
  },
  TIMEOUT_MS,
);
