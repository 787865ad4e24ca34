import { rm } from "node:fs/promises";
import { join } from "node:path";
import { MessageRole, SendMessageRequestSchema } from "../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../test/server.ts";
import { bareCommitsPerSecond, syncsPerSecond } from "./bare-commit.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { framed } from "./framed.ts";
import { ensureH2load, runLoad } from "./h2load.ts";
import { processorTimeUs } from "./processor-time.ts";
import { median, pairedRatio, sampleOf } from "./statistics.ts";

const path = "/proto.orchestrator.v1.OrchestratorService/SendMessage";
const inFlight = 64;
const content =
  "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all: 100 bytes, surely.";

/** Durable SendMessage: on a young database, and on one that holds a million messages. */
export const sendMessage: Figure = {
  name: "send-message",
  measure: async (bench) => {
    await ensureH2load(bench.progress);
    const rounds = bench.length === "quick" ? 2 : 7;
    const calls = bench.length === "quick" ? 1_000 : 20_000;
    const stored = bench.length === "quick" ? 10_000 : 1_000_000;
    // Not in memory: the disk is part of what is measured.
    const dataDir = join(bench.folder, "data");
    await using server = await startServer({ program: [bench.program], dataDir });
    const young = await measure(bench, server, { rounds, calls });
    bench.progress(`  storing ${stored} messages`);
    const preload = await send(server, { file: join(bench.folder, "preload"), calls: stored });
    const old = await measure(bench, server, { rounds, calls });
    const rows = rowsOf({ young, old, stored, preload });
    await rm(dataDir, { recursive: true, force: true });
    return rows;
  },
};

interface Rounds {
  readonly rates: readonly number[];
  readonly times: readonly number[];
  readonly bare: readonly number[];
  readonly syncs: readonly number[];
}

async function measure(
  bench: Bench,
  server: TestServer,
  { rounds, calls }: { readonly rounds: number; readonly calls: number },
): Promise<Rounds> {
  const measured = {
    rates: [] as number[],
    times: [] as number[],
    bare: [] as number[],
    syncs: [] as number[],
  };
  const bareSeconds = bench.length === "quick" ? 0.2 : 1;
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const usedUs = processorTimeUs(server.pid);
    const rate = await send(server, { file: join(bench.folder, "send"), calls });
    const timeUs = (processorTimeUs(server.pid) - usedUs) / calls;
    const bare = bareCommitsPerSecond({
      folder: bench.folder,
      group: inFlight,
      seconds: bareSeconds,
      content,
    });
    const syncs = syncsPerSecond({ folder: bench.folder, seconds: bareSeconds });
    bench.progress(
      `  round ${round} of ${rounds}: ${Math.round(rate)}/s, bare ${Math.round(bare)}/s, ${Math.round(syncs)} syncs/s`,
    );
    if (round === 0) continue;
    measured.rates.push(rate);
    measured.times.push(timeUs);
    measured.bare.push(bare);
    measured.syncs.push(syncs);
  }
  return measured;
}

/** Sends messages to a session of their own, makes sure that all of them are stored, and gives how many in a second. */
async function send(
  server: TestServer,
  { file, calls }: { readonly file: string; readonly calls: number },
): Promise<number> {
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({});
  await Bun.write(
    file,
    framed(SendMessageRequestSchema, { sessionId, message: { role: MessageRole.USER, content } }),
  );
  const { callsPerSecond } = await runLoad({
    socketPath: server.socketPath,
    path,
    requestFile: file,
    calls,
    inFlight,
  });
  const { totalCount } = await orchestrator.listMessages({ sessionId, pageSize: 1 });
  if (totalCount !== calls) throw new Error(`${calls} messages were sent, and ${totalCount} are stored`);
  return callsPerSecond;
}

function rowsOf(measured: {
  readonly young: Rounds;
  readonly old: Rounds;
  readonly stored: number;
  readonly preload: number;
}): readonly Row[] {
  const { young, old, stored, preload } = measured;
  const target = { of: "ours", is: "at least", value: 10_000 } as const;
  const thousands = stored.toLocaleString("en-US");
  return [
    rateRow(`SendMessage, ${inFlight} in flight`, young, target),
    rateRow(`SendMessage, with ${thousands} stored`, old, target),
    {
      what: "  that of the two, over the former",
      unit: "ratio",
      ours: sampleOf([median(old.rates) / median(young.rates)]),
      target: { of: "ours", is: "at least", value: 0.9 },
    },
    {
      what: `  the rate while ${thousands} were stored`,
      unit: "messages/s",
      ours: sampleOf([preload]),
      target: { of: "none" },
    },
    {
      what: "  its processor time",
      unit: "us/call",
      ours: sampleOf(young.times),
      target: { of: "none" },
    },
    {
      what: "  the disk: syncs of 4 KiB",
      unit: "syncs/s",
      ours: sampleOf([...young.syncs, ...old.syncs]),
      target: { of: "none" },
    },
  ];
}

function rateRow(what: string, { rates, bare }: Rounds, target: Row["target"]): Row {
  return {
    what,
    unit: "messages/s",
    ours: sampleOf(rates),
    bare: { what: `SQLite, ${inFlight} a commit`, sample: sampleOf(bare) },
    ratio: pairedRatio(rates, bare),
    target,
  };
}
