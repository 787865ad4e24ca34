import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { setImmediate } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import type { Client } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import {
  AgentService,
  AgentType,
  MessageType,
  StreamAgentResponseSchema,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { openLine, textOf } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, startCanary } from "./canary.ts";
import { encode, openBidiStream } from "./test-server.ts";

setDefaultTimeout(30_000);

const maxMessages = 20;

let server: TestServer;
let canary: Canary;

const bounds = {
  BAAAHT_AGENTS_MAX_QUEUED_MESSAGES: String(maxMessages),
  BAAAHT_AGENTS_MAX_QUEUED_BYTES: "8MiB",
  BAAAHT_AGENTS_MAX_QUEUED_TOTAL_BYTES: "16MiB",
};

beforeAll(async () => {
  server = await startServer({ env: { ...bounds, BAAAHT_GRPC_STALLED_STREAM_TIMEOUT: "1s" } });
  canary = await startCanary(server);
});

afterAll(async () => {
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

async function register(client: Client = server.client): Promise<string> {
  return (await client.agent.register({ name: "a", type: AgentType.WORKER })).agentId;
}

/** Sends messages of so many bytes until one is refused: how many were taken, and the refusal. */
async function fill(
  agentId: string,
  bytes: number,
  client: Client = server.client,
): Promise<{ readonly taken: number; readonly refused: Failure }> {
  for (let taken = 0; ; taken += 1) {
    const text = `${taken}:${"x".repeat(bytes)}`;
    const data = Buffer.from(text);
    const message = { type: MessageType.DATA, payload: { case: "dataMessage" as const, value: { data } } };
    try {
      await client.agent.sendMessage({ agentId, message });
    } catch (error) {
      if (error instanceof Failure) return { taken, refused: error };
      throw error;
    }
  }
}

const number = (text: string) => Number(text.split(":", 1)[0]);

test("an agent that does not read fills its own queue, and its next line gets what waits, in order", async () => {
  // One that gives a line that is not read the usual time, so that it is the next line that ends it.
  await using patient = await startServer({ env: bounds });
  const { client } = patient;
  const agentId = await register(client);
  await using line = await openLine(client, agentId);
  const { taken, refused } = await fill(agentId, 200_000, client);
  expect(refused).toMatchObject({
    kind: "resource_exhausted",
    details: { reason: "AGENT_QUEUE_FULL", metadata: { agent_id: agentId }, retryAfterMs: 1_000 },
  });
  expect(taken).toBeGreaterThanOrEqual(maxMessages);
  // The others do not notice.
  const other = await register(client);
  await using reads = await openLine(client, other);
  reads.say(other, "free");
  expect(textOf(await reads.message())).toBe("free");
  await using next = await openLine(client, agentId);
  const first = number(textOf(await next.message()));
  for (let at = first + 1; at < taken; at += 1) expect(number(textOf(await next.message()))).toBe(at);
  expect(taken - first).toBeGreaterThanOrEqual(maxMessages);
  // There is room again.
  next.say(agentId, "again");
  expect(textOf(await next.message())).toBe("again");
  expect(await thrown(() => until(line))).toMatchObject({ kind: "aborted" });
});

test("a line that is not read is ended, and says so", async () => {
  const agentId = await register();
  await using line = await openLine(server.client, agentId);
  await fill(agentId, 200_000);
  await lineEnds(agentId);
  const end = await thrown(() => until(line));
  expect(end).toMatchObject({ kind: "resource_exhausted", details: { reason: "CLIENT_STALLED" } });
});

test("bytes are bounded like messages, of one agent and of all together", async () => {
  const agents = await Promise.all([register(), register(), register()]);
  const lines = [];
  for (const agentId of agents) lines.push(await openLine(server.client, agentId));
  const outcomes = [];
  for (const agentId of agents) outcomes.push(await fill(agentId, 2_000_000));
  const words = outcomes.map(({ refused }) => refused.message);
  expect(words[0]).toContain("which is the most");
  expect(outcomes[0]?.taken).toBeLessThan(maxMessages);
  expect(words[2]).toContain("for all agents together");
  for (const line of lines) await line[Symbol.asyncDispose]();
  for (const agentId of agents) await server.client.agent.unregister({ agentId });
});

test("a sender is told of each message that a full queue refuses, and of none that it takes", async () => {
  const [to, from] = [await register(), await register()];
  await using _receiver = await openLine(server.client, to);
  await fill(to, 200_000);
  await using sender = await openLine(server.client, from);
  for (let at = 0; at < 5; at += 1) sender.say(to, "x", `c${at}`);
  for (let at = 0; at < 5; at += 1) {
    const message = await sender.message();
    expect(message.metadata?.correlationId).toBe(`c${at}`);
    expect(message.payload.value).toMatchObject({
      headers: { code: "RESOURCE_EXHAUSTED", reason: "AGENT_QUEUE_FULL" },
    });
  }
});

test("who is unregistered with messages unread has their senders told", async () => {
  const [to, from] = [await register(), await register()];
  const receiver = await openLine(server.client, to);
  await fill(to, 200_000); // so that nothing more goes out to it
  await using next = await openLine(server.client, to);
  await using sender = await openLine(server.client, from);
  await next.message(); // there is room again, for one at least
  sender.say(to, "last words", "c1");
  sender.beat();
  expect((await sender.next())?.case).toBe("heartbeat");
  await server.client.agent.unregister({ agentId: to });
  const message = await sender.message();
  expect(message).toMatchObject({ type: MessageType.ERROR, metadata: { correlationId: "c1" } });
  expect(message.payload.value).toMatchObject({ headers: { reason: "AGENT_NOT_FOUND", target_id: to } });
  await receiver[Symbol.asyncDispose]();
});

test("a sender that reads no answers is not read any more, and then ended", async () => {
  const agentId = await register();
  await using line = await openLine(server.client, agentId);
  const sent = 50_000;
  for (let at = 0; at < sent; at += 1) line.say("nobody", "x");
  await lineEnds(agentId);
  expect((await memoryOf(server.pid)).rss).toBeLessThan(500 * 1024 * 1024);
  let answers = 0;
  const end = await thrown(async () => {
    for (; ; answers += 1) await line.message();
  });
  expect(end).toMatchObject({ kind: "resource_exhausted", details: { reason: "CLIENT_STALLED" } });
  expect(answers).toBeLessThan(sent / 2);
});

test("many agents hold lines and speak to each other over one connection", async () => {
  const client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
  const method = AgentService.method.streamAgent;
  const count = 200;
  const ids = await Promise.all(Array.from({ length: count }, () => register()));
  const heard = ids.map((agentId) => {
    const call = openBidiStream(client, method);
    call.write(encode(method, { agentId }));
    const { promise, resolve } = Promise.withResolvers<string>();
    call.on("data", (bytes: Buffer) => {
      const { payload } = fromBinary(StreamAgentResponseSchema, bytes);
      if (payload.case === "message") resolve(payload.value.sourceId);
    });
    return { call, open: new Promise((opened) => call.on("metadata", opened)), from: promise };
  });
  await Promise.all(heard.map(({ open }) => open));
  for (const [at, { call }] of heard.entries()) {
    const value = { targetId: ids[(at + 1) % count], type: MessageType.HEARTBEAT };
    call.write(encode(method, { payload: { case: "message", value } }));
  }
  const sources = await Promise.all(heard.map(({ from }) => from));
  expect(sources).toEqual(ids.map((_, at) => ids[(at + count - 1) % count] ?? ""));
  expect((await server.client.agent.getStatus({})).openLines).toBeGreaterThanOrEqual(count);
  client.close();
});

/** No event tells of the end of a line, and the client must not read to hear of it. */
async function lineEnds(agentId: string): Promise<void> {
  while ((await server.client.agent.getAgent({ agentId })).agent?.lineOpen !== false) await setImmediate();
}

/** Reads a line until it ends. */
async function until(line: Awaited<ReturnType<typeof openLine>>): Promise<void> {
  for (;;) await line.message();
}

async function memoryOf(pid: number): Promise<{ readonly rss: number }> {
  const status = await Bun.file(`/proc/${pid}/status`).text();
  return { rss: 1_024 * Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) };
}
