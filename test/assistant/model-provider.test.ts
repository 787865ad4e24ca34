import { expect, test } from "bun:test";
import { modelProvider } from "../../src/assistant/model-provider.ts";
import type { Piece, Said, ToolDeclaration } from "../../src/assistant/provider.ts";
import { Failure } from "../../src/failure.ts";
import { type ModelCall, ModelServer } from "./model-server.ts";

const KEY = "sk-very-secret";
const TOOL: ToolDeclaration = {
  name: "run_command",
  about: "runs a command",
  input: { type: "object", properties: { command: { type: "string" } }, required: ["command"] },
};

interface Asking {
  readonly said?: readonly Said[];
  readonly signal?: AbortSignal;
  readonly retries?: number;
  readonly onText?: (text: string) => void;
}

/** What a provider makes of a server, up to its end. */
async function step(server: { readonly baseUrl: string }, asking: Asking = {}): Promise<readonly Piece[]> {
  const { said = [{ by: "user", text: "hello" }], retries = 0 } = asking;
  const provider = modelProvider({
    baseUrl: server.baseUrl,
    model: "small",
    key: KEY,
    retries,
    maxAnswerTokens: 99,
  });
  const signal = asking.signal ?? new AbortController().signal;
  const pieces: Piece[] = [];
  for await (const piece of provider.step({ instructions: "Be brief.", said, tools: [TOOL], signal })) {
    pieces.push(piece);
    if (piece.kind === "text") asking.onText?.(piece.text);
  }
  return pieces;
}

/** The Failure that a step ends with. */
async function failed(server: { readonly baseUrl: string }, asking: Asking = {}): Promise<Failure> {
  try {
    await step(server, asking);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

test("modelProvider() gives text in the pieces that come, and asks as the protocol has it", async () => {
  await using server = new ModelServer({ kind: "text", pieces: ["Hel", "lo ", "wörld"] });
  const pieces = await step(server);
  expect(pieces).toEqual(["Hel", "lo ", "wörld"].map((text) => ({ kind: "text", text })));
  const [asked] = server.asked;
  expect(asked?.path).toBe("/v1/chat/completions");
  expect(asked?.key).toBe(`Bearer ${KEY}`);
  expect(asked?.body).toMatchObject({
    model: "small",
    stream: true,
    max_tokens: 99,
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "hello" },
    ],
    tools: [{ function: { name: "run_command", parameters: TOOL.input } }],
  });
});

test("modelProvider() gives calls as the model writes them, those that can't be right too", async () => {
  const calls: readonly ModelCall[] = [
    { name: "run_command", arguments: '{"command":"ls"}' },
    { name: "no_such_tool", arguments: "{}" },
    { name: "run_command", arguments: '{"comm' },
  ];
  await using server = new ModelServer({ kind: "calls", calls, text: "Let me see." });
  expect(await step(server)).toEqual([
    { kind: "text", text: "Let me see." },
    { kind: "call", call: { id: "call-0", name: "run_command", input: { command: "ls" } } },
    { kind: "call", call: { id: "call-1", name: "no_such_tool", input: {} } },
    { kind: "call", call: { id: "call-2", name: "run_command", input: '{"comm' } },
  ]);
});

test("modelProvider() tells the model what it called and what came of it", async () => {
  await using server = new ModelServer({ kind: "text", pieces: ["done"] });
  const call = { id: "c1", name: "run_command", input: { command: "ls" } };
  const result = { id: "c1", name: "run_command", text: "a.txt\n[exit code 0]" };
  await step(server, {
    said: [
      { by: "user", text: "what is there?" },
      { by: "assistant", text: "I look.", calls: [call] },
      { by: "tools", results: [result] },
    ],
  });
  expect(server.asked[0]?.body.messages.slice(2)).toMatchObject([
    {
      role: "assistant",
      content: "I look.",
      tool_calls: [
        { id: "c1", type: "function", function: { name: "run_command", arguments: '{"command":"ls"}' } },
      ],
    },
    { role: "tool", tool_call_id: "c1", content: "a.txt\n[exit code 0]" },
  ]);
});

test("modelProvider() says that a key was refused, with the setting to look at and without the key", async () => {
  const error = { message: `Incorrect API key provided: ${KEY}`, code: "invalid_api_key" };
  await using server = new ModelServer({ kind: "status", status: 401, body: JSON.stringify({ error }) });
  const failure = await failed(server);
  expect(failure.kind).toBe("permission_denied");
  expect(failure.details.reason).toBe("MODEL_KEY_REFUSED");
  expect(failure.message).toContain("401 (Incorrect API key provided: (the key))");
  expect(failure.message).toContain("assistant.key-file");
  expect(failure.message).not.toContain(KEY);
});

test("modelProvider() shows no part of a key that its words are too long for", async () => {
  const error = { message: `${"x".repeat(490)}${KEY}` };
  await using server = new ModelServer({ kind: "status", status: 400, body: JSON.stringify({ error }) });
  expect((await failed(server)).message).not.toContain("sk-");
});

test("modelProvider() shows no password that is in the URL, and asks with it", async () => {
  const error = { message: "s3 cret (s3%20cret) is not the password of me" };
  await using server = new ModelServer({ kind: "status", status: 401, body: JSON.stringify({ error }) });
  const baseUrl = server.baseUrl.replace("//", "//me:s3%20cret@");
  const options = { baseUrl, model: "small", key: "", retries: 0, maxAnswerTokens: 99 };
  const provider = modelProvider(options);
  expect(provider.about).toBe(`model small at ${server.baseUrl}`);
  const signal = new AbortController().signal;
  const asked = provider.step({ instructions: "", said: [{ by: "user", text: "hi" }], tools: [], signal });
  const failure: unknown = await Array.fromAsync(asked).catch((error) => error);
  const { message } = Failure.from(failure) ?? { message: "" };
  expect(message).toContain(
    `at ${server.baseUrl}: it answers 401 ((the key) ((the key)) is not the password of me)`,
  );
  expect(server.asked[0]?.key).toBe(`Basic ${Buffer.from("me:s3 cret").toString("base64")}`);
});

test("modelProvider() comes again after a 429, when its retry-after says so", async () => {
  await using server = new ModelServer(
    { kind: "status", status: 429, headers: { "retry-after-ms": "5" } },
    { kind: "text", pieces: ["at last"] },
  );
  expect(await step(server, { retries: 1 })).toEqual([{ kind: "text", text: "at last" }]);
  expect(server.asked.length).toBe(2);
});

test("modelProvider() says that a model is busy, and when to come again, when it stays so", async () => {
  const busy = { kind: "status", status: 429, headers: { "retry-after": "7" } } as const;
  await using server = new ModelServer(busy);
  const failure = await failed(server);
  expect(failure.kind).toBe("resource_exhausted");
  expect(failure.message).toContain("try again later");
  expect(failure.details.retryAfterMs).toBe(7_000);
});

test("modelProvider() says what a server says that errs", async () => {
  await using server = new ModelServer({ kind: "status", status: 500, body: "<html>boom</html>" });
  const failure = await failed(server);
  expect(failure.kind).toBe("unavailable");
  expect(failure.message).toContain('Cannot ask the model "small" at http://127.0.0.1:');
  expect(failure.message).toContain("it answers 500");
});

test("modelProvider() gives what came before a cut, and then says that it was cut", async () => {
  await using server = new ModelServer({ kind: "cut", pieces: ["half an ans"] });
  let text = "";
  const failure = await failed(server, {
    onText: (piece) => {
      text += piece;
      server.cut();
    },
  });
  expect(text).toBe("half an ans");
  expect(failure.kind).toBe("unavailable");
  expect(failure.details.reason).toBe("MODEL_FAILED");
});

test("modelProvider() says behind an answer that the model was cut off", async () => {
  await using server = new ModelServer({ kind: "text", pieces: ["half an ans"], finish: "length" });
  expect(await step(server)).toEqual([
    { kind: "text", text: "half an ans" },
    {
      kind: "text",
      text: "\n\n[The answer is cut here: the model has reached the most that it can or may say, 99 tokens or less.]",
    },
  ]);
});

test("modelProvider() says nothing behind a call that was cut off, since the model goes on", async () => {
  const calls = [{ name: "run_command", arguments: '{"comm' }];
  await using server = new ModelServer({ kind: "calls", calls, finish: "length" });
  expect(await step(server)).toEqual([
    { kind: "call", call: { id: "call-0", name: "run_command", input: '{"comm' } },
  ]);
});

test.each([[["half an ans"]], [[]]])("modelProvider() tells that a filter has stopped %j", async (pieces) => {
  await using server = new ModelServer({ kind: "text", pieces, finish: "content_filter" });
  const failure = await failed(server);
  expect(failure.details.reason).toBe("MODEL_FILTERED");
  expect(failure.message).toBe(
    "Cannot answer: the content filter of the model's server has stopped the answer",
  );
});

test("modelProvider() takes no answer that its server ends as an error", async () => {
  await using server = new ModelServer({ kind: "text", pieces: ["half an ans"], finish: "error" });
  const failure = await failed(server);
  expect(failure.details.reason).toBe("MODEL_FAILED");
  expect(failure.message).toContain('it ended with "error"');
});

test.each([
  ["lines that are no JSON", "data: {not json}\n\n"],
  ["a page", "<html><body>Welcome!</body></html>"],
  ["JSON of another kind", 'data: {"hello":"world"}\n\n'],
  ["nothing", ""],
])("modelProvider() takes no answer from %s", async (_, body) => {
  await using server = new ModelServer({ kind: "nonsense", body });
  const failure = await failed(server);
  expect(failure.kind).toBe("unavailable");
  expect(failure.message).toContain("Cannot ask the model");
});

test("modelProvider() tells an error that a server says in the middle", async () => {
  const body = `data: ${JSON.stringify({ error: { message: "the machine is overloaded", code: 503 } })}\n\n`;
  await using server = new ModelServer({ kind: "nonsense", body });
  expect((await failed(server)).message).toContain("the machine is overloaded");
});

test("modelProvider() says that the model has said nothing", async () => {
  await using server = new ModelServer({ kind: "text", pieces: [] });
  const failure = await failed(server);
  expect(failure.message).toBe('Cannot answer: the model has said nothing (it ended with "stop")');
});

test("modelProvider() says that there is no server", async () => {
  const server = new ModelServer();
  const { baseUrl } = server;
  await server[Symbol.asyncDispose]();
  const failure = await failed({ baseUrl });
  expect(failure.kind).toBe("unavailable");
  expect(failure.message).toContain("Cannot ask the model");
});

test("modelProvider() leaves the server when it is given up, and throws why", async () => {
  await using server = new ModelServer({ kind: "silence", pieces: ["wait for it"] });
  const stop = new AbortController();
  const why = new Failure("cancelled", "the user has left");
  const failure = await failed(server, { signal: stop.signal, onText: () => stop.abort(why) });
  expect(failure).toBe(why);
  await server.until(() => server.left === 1);
});
