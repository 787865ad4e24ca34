import { expect, test } from "bun:test";
import { type AssistantNews, runAssistant } from "../../src/assistant/assistant.ts";
import type { AssistantConfig } from "../../src/assistant/assistant-config.ts";
import type { Provider } from "../../src/assistant/provider.ts";
import { chooseProvider } from "../../src/assistant/provider-choice.ts";
import { connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { tempFolder } from "../temp-folder.ts";
import { assistantConfig } from "./config.ts";
import { FakeConversations } from "./fake-conversations.ts";
import { ModelServer } from "./model-server.ts";

interface Subject extends AsyncDisposable {
  readonly server: FakeConversations;
  readonly news: AssistantNews[];
  readonly stop: AbortController;
  readonly hurry: AbortController;
  readonly done: Promise<void>;
}

/** An assistant with a server of its own. */
async function running(more: Partial<AssistantConfig> = {}, provider?: Provider): Promise<Subject> {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await FakeConversations.start());
  const client = stack.use(connect({ address: `unix://${server.path}`, reconnectIntervalMs: 20 }));
  const config = assistantConfig(more);
  const news: AssistantNews[] = [];
  const [stop, hurry] = [new AbortController(), new AbortController()];
  const done = runAssistant({
    client,
    provider: provider ?? (await chooseProvider(config)),
    config,
    signal: stop.signal,
    hurry: hurry.signal,
    onNews: (one) => void news.push(one),
  });
  done.catch(() => undefined); // whoever waits for it is told
  return {
    server,
    news,
    stop,
    hurry,
    done,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      hurry.abort();
      await done.catch(() => undefined);
      await stack.disposeAsync();
    },
  };
}

test("runAssistant() registers so that the server finds it, and answers in numbered parts", async () => {
  await using subject = await running();
  await subject.server.ask("hello wide world");
  expect(await subject.server.answer()).toBe("hello wide world");
  expect(subject.server.registered[0]).toMatchObject({
    name: "assistant",
    metadata: { labels: { role: "assistant" } },
  });
  expect(subject.server.heard()).toEqual([
    { type: "data", text: "hello", headers: { part: "0" } },
    { type: "data", text: " wide", headers: { part: "1" } },
    { type: "data", text: " world", headers: { part: "2" } },
    { type: "data", text: "", headers: { part: "3", final: "true", model: "echo" } },
  ]);
});

test("runAssistant() answers many conversations at a time, each its own question", async () => {
  await using subject = await running();
  const ids = Array.from({ length: 50 }, (_, index) => `c${index}`);
  await Promise.all(ids.map((id) => subject.server.ask(`this is ${id}`, id)));
  const answers = await Promise.all(ids.map((id) => subject.server.answer(id)));
  expect(answers).toEqual(ids.map((id) => `this is ${id}`));
});

test("runAssistant() says why there is no answer", async () => {
  await using subject = await running();
  await subject.server.ask("!fail out of ideas");
  expect(await subject.server.answer()).toBe("error: out of ideas");
});

test("runAssistant() does not tell a defect's stack to who has asked", async () => {
  const provider: Provider = {
    about: "broken",
    model: "broken",
    readsConversation: false,
    step: () => {
      throw new TypeError("undefined is not a poem");
    },
  };
  await using subject = await running({}, provider);
  await subject.server.ask("hello");
  expect(await subject.server.answer()).toBe("error: Cannot answer: the assistant has met a defect");
  expect(subject.news.find(({ what }) => what === "failed")).toMatchObject({ error: expect.any(TypeError) });
});

test("runAssistant() gives up what is cancelled, and says no more of it", async () => {
  await using subject = await running();
  await subject.server.ask("!wait 1d", "slow");
  await subject.server.ask("hello", "quick");
  expect(await subject.server.answer("quick")).toBe("hello");
  await subject.server.cancel("slow");
  await subject.server.ask("again", "later");
  await subject.server.answer("later");
  expect(subject.news.find(({ what }) => what === "given_up")).toMatchObject({ why: "enough" });
  expect(subject.server.heard("slow")).toEqual([]);
});

test("runAssistant() ends an answer that takes too long, with the time in the words", async () => {
  await using subject = await running({ turnTimeoutMs: 20 });
  await subject.server.ask("!wait 1d");
  expect(await subject.server.answer()).toBe(
    "error: Cannot answer: the 20ms that an answer may take are over",
  );
});

test("runAssistant() takes no more turns than it may", async () => {
  await using subject = await running({ maxTurns: 1 });
  await subject.server.ask("!wait 1d", "slow");
  await subject.server.ask("hello", "too much");
  expect(await subject.server.answer("too much")).toContain("it may be");
});

test("runAssistant() ends an answer that gets too long", async () => {
  await using subject = await running({ maxAnswerBytes: 10 });
  await subject.server.ask("twelve bytes");
  expect(await subject.server.answer()).toBe(
    "error: Cannot go on with the answer: it has more than 10 bytes",
  );
});

test("runAssistant() comes back when the server does, as the agent that it was", async () => {
  await using subject = await running();
  await subject.server.ask("!wait 1d", "lost");
  await subject.server.ask("hello", "one");
  await subject.server.answer("one");
  await subject.server.down();
  await subject.server.up();
  await subject.server.ask("again", "two");
  expect(await subject.server.answer("two")).toBe("again");
  expect(subject.server.registered.length).toBe(1);
  expect(subject.news.find(({ what }) => what === "given_up")).toMatchObject({
    turn: { messageId: "question-lost" },
  });
});

test("runAssistant() registers anew where the server does not know it any more", async () => {
  await using subject = await running();
  await subject.server.ask("hello", "one");
  await subject.server.answer("one");
  await subject.server.down();
  subject.server.forgotten.add("agent-1");
  await subject.server.up();
  await subject.server.ask("again", "two");
  expect(await subject.server.answer("two")).toBe("again");
  expect(subject.server.registered.length).toBe(2);
});

test("runAssistant() drains: takes no more, answers what it has, signs off", async () => {
  const [begun, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const provider: Provider = {
    about: "held",
    model: "held",
    readsConversation: false,
    async *step() {
      begun.resolve();
      await held.promise;
      yield { kind: "text", text: "after all" };
    },
  };
  await using subject = await running({}, provider);
  await subject.server.ask("one", "one");
  await begun.promise;
  subject.stop.abort();
  await subject.server.ask("two", "two");
  held.resolve();
  expect(await subject.server.answer("one")).toBe("after all");
  await subject.done;
  expect(subject.server.unregistered).toEqual(["agent-1"]);
  expect(subject.server.heard("two")).toEqual([]);
});

test("runAssistant() gives up what a drain leaves when it is hurried", async () => {
  await using subject = await running();
  await subject.server.ask("!wait 1d", "slow");
  await subject.server.ask("hello", "quick");
  await subject.server.answer("quick");
  subject.stop.abort();
  subject.hurry.abort();
  await subject.done;
  expect(subject.news.map(({ what }) => what)).toContain("draining");
  expect(subject.server.heard("slow")).toEqual([]);
});

test("runAssistant() says that there is no server to begin with", async () => {
  await using folder = await tempFolder();
  await using client = connect({ address: `unix://${folder.file("none.sock")}` });
  const config = assistantConfig();
  const provider = await chooseProvider(config);
  const running = runAssistant({
    client,
    provider,
    config,
    signal: new AbortController().signal,
    onNews: () => undefined,
  });
  expect(running).rejects.toMatchObject({ kind: "unavailable" });
});

test("a turn gives the model the conversation, and tells it what had no room", async () => {
  await using model = new ModelServer({ kind: "text", pieces: ["fine"] });
  await using subject = await running({ model: "small", baseUrl: model.baseUrl, maxContextTokens: 1_100 });
  const say = (role: MessageRole, content: string) =>
    subject.server.messages.push({ id: `m${subject.server.messages.length}`, role, content });
  say(MessageRole.USER, `an old one ${"x".repeat(3_000)}`);
  say(MessageRole.ASSISTANT, "an old answer");
  say(MessageRole.SYSTEM, "Speak like a sailor.");
  say(MessageRole.USER, "how are you?");
  say(MessageRole.ASSISTANT, "Aye.");
  await subject.server.ask("and now?");
  expect(await subject.server.answer()).toBe("fine");
  const [system, ...said] = model.asked[0]?.body.messages ?? [];
  expect(system?.content).toContain("Speak like a sailor.");
  expect(system?.content).toContain("The 1 oldest messages of this conversation had no room");
  expect(said.map(({ role, content }) => [role, content])).toEqual([
    ["assistant", "an old answer"],
    ["user", "how are you?"],
    ["assistant", "Aye."],
    ["user", "and now?"],
  ]);
  expect(subject.news.find(({ what }) => what === "cut")).toMatchObject({ leftOut: 1 });
});

test("a turn tells the model what a tool could not do, and stores call and result", async () => {
  await using model = new ModelServer(
    { kind: "calls", text: "I look.", calls: [{ name: "run_command", arguments: '{"command":"ls"}' }] },
    { kind: "text", pieces: ["There is no engine."] },
  );
  await using subject = await running({ model: "small", baseUrl: model.baseUrl });
  await subject.server.ask("what is there?");
  expect(await subject.server.answer()).toBe("I look.\n\nThere is no engine.");
  const told = model.asked[1]?.body.messages.at(-1);
  expect(told).toMatchObject({ role: "tool", tool_call_id: "call-0" });
  expect(told?.content).toContain("refused with FAILED_PRECONDITION");
  expect(subject.server.toolMessages).toMatchObject([
    {
      content: '{"command":"ls"}',
      metadata: {
        toolName: "run_command",
        toolCallId: "call-0",
        extra: { tool: "call", question_id: "question-c1", answer_bytes: "7" },
      },
    },
    {
      metadata: {
        toolCallId: "call-0",
        extra: { tool: "result", failed: "true", question_id: "question-c1", answer_bytes: "7" },
      },
    },
  ]);
  // The next turn sees what was done in this one.
  await subject.server.ask("and?", "c2");
  await subject.server.answer("c2");
  expect(model.asked[2]?.body.messages.map(({ role }) => role)).toEqual([
    ...["system", "user", "assistant", "tool", "user"],
  ]);
});

test("a turn tells the model what is wrong with its calls", async () => {
  await using model = new ModelServer(
    {
      kind: "calls",
      calls: [
        { name: "run_command", arguments: '{"cmd":"ls"}' },
        { name: "fly", arguments: "{}" },
        { name: "run_python", arguments: '{"code' },
      ],
    },
    { kind: "text", pieces: ["Sorry."] },
  );
  await using subject = await running({ model: "small", baseUrl: model.baseUrl });
  await subject.server.ask("do something");
  expect(await subject.server.answer()).toBe("Sorry.");
  const told = model.asked[1]?.body.messages.slice(-3).map(({ content }) => content) ?? [];
  expect(told[0]).toContain('Cannot call the tool "run_command": its input is wrong: command');
  expect(told[1]).toContain(
    'Cannot call the tool "fly": there is none with this name; there are run_command,',
  );
  expect(told[2]).toContain("it was not even JSON");
});

test("a turn offers no tools in its last step, and fails when the model still asks for one", async () => {
  await using model = new ModelServer({ kind: "calls", calls: [{ name: "fly", arguments: "{}" }] });
  await using subject = await running({ model: "small", baseUrl: model.baseUrl, maxSteps: 2 });
  await subject.server.ask("fly");
  expect(await subject.server.answer()).toBe(
    "error: Cannot answer: after 2 steps the model still asks for tools",
  );
  expect(model.asked.map(({ body }) => body.tools !== undefined)).toEqual([true, false]);
});

test("a turn says which model has answered, and what all its steps have used", async () => {
  const calls = [{ name: "fly", arguments: "{}" }];
  await using model = new ModelServer(
    { kind: "calls", calls, usage: [10, 5] },
    { kind: "text", pieces: ["No."], usage: [20, 7] },
    { kind: "text", pieces: ["Fine."] },
  );
  await using subject = await running({ model: "small", baseUrl: model.baseUrl });
  await subject.server.ask("fly");
  await subject.server.answer();
  expect(subject.server.heard().at(-1)?.headers).toMatchObject({ model: "small", tokens_used: "42" });
  await subject.server.ask("and now?", "uncounted");
  await subject.server.answer("uncounted");
  expect(subject.server.heard("uncounted").at(-1)?.headers).toEqual({
    part: "1",
    final: "true",
    model: "small",
  });
});

test("a turn answers by the model that a message asks for, or says that it can't", async () => {
  await using model = new ModelServer({ kind: "text", pieces: ["fine"] });
  await using subject = await running({ model: "small", baseUrl: model.baseUrl });
  await subject.server.ask("hello", "c1", { model: "small" });
  expect(await subject.server.answer("c1")).toBe("fine");
  await subject.server.ask("hello", "c2", { model: "large" });
  expect(await subject.server.answer("c2")).toBe(
    'error: Cannot answer by the model "large": this assistant answers by "small" alone',
  );
  expect(model.asked.length).toBe(1);
});

test("a turn refuses a question that is larger than what the model is given", async () => {
  await using model = new ModelServer({ kind: "text", pieces: ["fine"] });
  await using subject = await running({ model: "small", baseUrl: model.baseUrl, maxContextTokens: 1_024 });
  await subject.server.ask("long ".repeat(1_000));
  expect(await subject.server.answer()).toContain("take more than the 1024 tokens");
  expect(model.asked).toEqual([]);
});

test("chooseProvider() takes the key from its file, and says what is missing", async () => {
  await using folder = await tempFolder();
  await Bun.write(folder.file("key"), "sk-from-a-file\n");
  await using model = new ModelServer({ kind: "text", pieces: ["fine"] });
  const config = { model: "small", baseUrl: model.baseUrl, keyFile: folder.file("key") };
  await using subject = await running(config);
  await subject.server.ask("hello");
  await subject.server.answer();
  expect(model.asked[0]?.key).toBe("Bearer sk-from-a-file");
  const problems = [
    { ...config, keyFile: folder.file("none") },
    { ...config, baseUrl: "model.example.org" },
    { ...config, baseUrl: "me:secret@model.example.org/v1" },
    { ...config, model: "", provider: "model" as const },
  ].map(async (more) => {
    const failure: unknown = await chooseProvider(assistantConfig(more)).catch((error) => error);
    return Failure.from(failure)?.message;
  });
  expect(await Promise.all(problems)).toEqual([
    expect.stringContaining("the key can't be read: ENOENT"),
    'Cannot be an assistant: assistant.base-url is "model.example.org", which is no http:// or https:// URL',
    'Cannot be an assistant: assistant.base-url is "model.example.org/v1", which is no http:// or https:// URL',
    'Cannot be an assistant: assistant.model is missing: name a model, or take the provider "echo"',
  ]);
});
