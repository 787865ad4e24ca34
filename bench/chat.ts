import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { connect } from "../src/client/client.ts";
import type { StreamChatRequestSchema } from "../src/gen/proto/gateway/v1/gateway_pb.ts";
import { gatewaySession, type OpenChat, openChat } from "../test/chat/open-chat.ts";
import { PushedFrames } from "../test/client/pushed-frames.ts";
import { startServer, type TestServer } from "../test/server.ts";
import { type BareProgram, compileBare, startBare } from "./bare-program.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { processorTimeUs } from "./processor-time.ts";
import { median, percentile, sampleOf } from "./statistics.ts";

const path = "/proto.gateway.v1.GatewayService/StreamChat";
const chatsAtOnce = 200;
const turnsEach = 10;
const question = "The quick brown fox jumps over the lazy dog; what does the dog say?";

/** Chat with our assistant that echoes: one turn, many at once, one reader that stands still; and streamed tokens of another. */
export const chat: Figure = {
  name: "chat",
  measure: async (bench) => {
    await using server = await startServer({
      program: [bench.program],
      dataDir: join(bench.folder, "chat-data"),
    });
    await using _assistant = await startAssistantProgram(server);
    await using echoing = await echoingServer(bench);
    const first = await firstChunks(bench, echoing);
    const many = await manyChats(bench, echoing);
    const lags = await tokenLags(bench, server);
    return [
      {
        what: "question to first chunk",
        unit: "ms",
        ours: sampleOf(first.ours),
        bare: { what: "bidi echo", sample: sampleOf(first.bare) },
        target: { of: "none" },
      },
      {
        what: "  that of the two, over the latter",
        unit: "ms",
        ours: sampleOf([median(first.ours) - median(first.bare)]),
        target: { of: "ours", is: "at most", value: 4 },
      },
      ...many,
      {
        what: "token to chunk, p99, 1,000 tokens/s to 100 chats",
        unit: "ms",
        ours: sampleOf([percentile(lags, 99)]),
        target: { of: "ours", is: "below", value: 20 },
      },
    ];
  },
};

/** A server with our own assistant beside it, which echoes. */
async function echoingServer(bench: Bench): Promise<TestServer> {
  const dataDir = join(bench.folder, "echo-data");
  const server = await startServer({ program: [bench.program], dataDir, flags: ["--assistant"] });
  await server.logged("assistant: ready as agent");
  return server;
}

function startAssistantProgram(server: TestServer): Promise<BareProgram> {
  return startBare([process.execPath, join(import.meta.dir, "chat-assistant.ts"), server.socketPath]);
}

async function firstChunks(
  bench: Bench,
  server: TestServer,
): Promise<{ readonly ours: readonly number[]; readonly bare: readonly number[] }> {
  const rounds = bench.length === "quick" ? 20 : 1_000;
  const bareSocket = join(bench.folder, "bare-bidi.sock");
  const program = await compileBare("bare-bidi-echo", bench.folder);
  await using _bare = await startBare([program, path, bareSocket]);
  await using bareClient = connect({ address: `unix://${bareSocket}` });
  const frames = new PushedFrames<MessageInitShape<typeof StreamChatRequestSchema>>();
  const echoes = bareClient.gateway.streamChat(frames)[Symbol.asyncIterator]();
  await using client = connect({ address: `unix://${server.socketPath}` });
  await using stream = await openChat(client, await gatewaySession(client));
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < rounds + 50; round += 1) {
    const begin = performance.now();
    stream.ask(question);
    await stream.next();
    const took = performance.now() - begin;
    await stream.turn();
    const bareBegin = performance.now();
    frames.push({ payload: { case: "heartbeat", value: {} } });
    await echoes.next();
    const bareTook = performance.now() - bareBegin;
    // The first rounds warm up and are not counted.
    if (round < 50) continue;
    ours.push(took);
    bare.push(bareTook);
  }
  frames.end();
  return { ours, bare };
}

async function manyChats(bench: Bench, server: TestServer): Promise<readonly Row[]> {
  const rounds = bench.length === "quick" ? 1 : 10;
  await using client = connect({ address: `unix://${server.socketPath}` });
  const chats = await Promise.all(
    Array.from({ length: chatsAtOnce }, async () => openChat(client, await gatewaySession(client))),
  );
  const rates: number[] = [];
  const cpu: number[] = [];
  const moving: number[] = [];
  const beside: number[] = [];
  await askAll(chats);
  for (let round = 0; round < rounds; round += 1) {
    const usedUs = processorTimeUs(server.pid);
    const { seconds, times } = await askAll(chats);
    rates.push((chatsAtOnce * turnsEach) / seconds);
    cpu.push((processorTimeUs(server.pid) - usedUs) / (chatsAtOnce * turnsEach));
    moving.push(percentile(times, 99));
    bench.progress(`  round ${round + 1} of ${rounds}: ${Math.round(rates.at(-1) ?? 0)} turns/s`);
    // Asks for an answer that fills its window, and reads nothing of it.
    const still = await openChat(client, await gatewaySession(client));
    still.ask("x".repeat(1_000_000));
    beside.push(percentile((await askAll(chats)).times, 99));
    await still[Symbol.asyncDispose]();
  }
  for (const one of chats) await one[Symbol.asyncDispose]();
  return [
    {
      what: `turns of ${chatsAtOnce} chats at once, durable`,
      unit: "turns/s",
      ours: sampleOf(rates),
      target: { of: "ours", is: "at least", value: 800 },
    },
    { what: "  its processor time", unit: "us/turn", ours: sampleOf(cpu), target: { of: "none" } },
    {
      what: "  a turn's p99, beside a reader that stands still",
      unit: "ms",
      ours: sampleOf(beside),
      bare: { what: "without it", sample: sampleOf(moving) },
      target: { of: "none" },
    },
  ];
}

/** Each chat asks one question after the other; throws when one gets another's answer. */
async function askAll(
  chats: readonly OpenChat[],
): Promise<{ readonly seconds: number; readonly times: readonly number[] }> {
  const times: number[] = [];
  const begin = performance.now();
  await Promise.all(
    chats.map(async (one, at) => {
      for (let turn = 0; turn < turnsEach; turn += 1) {
        const asked = `${at}/${turn}`;
        const from = performance.now();
        one.ask(asked);
        const { text } = await one.turn();
        times.push(performance.now() - from);
        if (text !== asked) throw new Error(`chat ${asked} got the answer "${text}"`);
      }
    }),
  );
  return { seconds: (performance.now() - begin) / 1_000, times };
}

/** How long after its sending each token is read, in milliseconds: each of 100 chats gets ten a second. */
async function tokenLags(bench: Bench, server: TestServer): Promise<readonly number[]> {
  const tokens = bench.length === "quick" ? 10 : 100;
  await using client = connect({ address: `unix://${server.socketPath}` });
  const chats = await Promise.all(
    Array.from({ length: 100 }, async () => openChat(client, await gatewaySession(client))),
  );
  const lags: number[] = [];
  await Promise.all(
    chats.map(async (one, at) => {
      await Bun.sleep(at); // they do not all speak in the same moment
      one.ask(`stream ${tokens} 100`);
      for (;;) {
        const payload = await one.next();
        if (payload?.case !== "chunk") break;
        if (payload.value.text !== "")
          lags.push(performance.timeOrigin + performance.now() - Number(payload.value.text));
      }
    }),
  );
  for (const one of chats) await one[Symbol.asyncDispose]();
  return lags;
}
