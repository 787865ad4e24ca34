import { join } from "node:path";
import { create, equals, toBinary } from "@bufbuild/protobuf";
import {
  GetSessionRequestSchema,
  GetSessionResponseSchema,
} from "../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer } from "../test/server.ts";
import { compileBare, startBare } from "./bare-program.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { framedBytes, frameHeadBytes } from "./framed.ts";
import { ensureH2load, runLoad } from "./h2load.ts";
import { processorTimeUs } from "./processor-time.ts";
import { pairedRatio, sampleOf } from "./statistics.ts";

const path = "/proto.orchestrator.v1.OrchestratorService/GetSession";

/** GetSession on one connection, against a bare echo that answers the same bytes. */
export const getSession: Figure = {
  name: "get-session",
  measure: async (bench) => {
    await ensureH2load(bench.progress);
    await using server = await startServer({ program: [bench.program] });
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({
      metadata: { name: "bench", labels: { team: "a" } },
    });
    const answer = await orchestrator.getSession({ sessionId });
    const answerBytes = toBinary(GetSessionResponseSchema, answer);
    const requestBytes = toBinary(GetSessionRequestSchema, create(GetSessionRequestSchema, { sessionId }));
    const files = { request: join(bench.folder, "get.request"), answer: join(bench.folder, "get.answer") };
    await Bun.write(files.request, framedBytes(requestBytes));
    await Bun.write(files.answer, answerBytes);
    const bareSocket = join(bench.folder, "echo.sock");
    const program = await compileBare("bare-echo", bench.folder);
    await using bare = await startBare([program, path, bareSocket, files.answer]);
    const subjects = [
      { name: "ours", socketPath: server.socketPath, pid: server.pid },
      { name: "bare", socketPath: bareSocket, pid: bare.pid },
    ];
    const rows: Row[] = [];
    for (const inFlight of [1, 10, 64]) {
      rows.push(
        ...(await compare(bench, {
          subjects,
          requestFile: files.request,
          answerBytes: answerBytes.length,
          inFlight,
        })),
      );
    }
    if (!equals(GetSessionResponseSchema, answer, await orchestrator.getSession({ sessionId }))) {
      throw new Error("GetSession answers otherwise after the load than before it");
    }
    return rows;
  },
};

async function compare(
  { length, progress }: Bench,
  load: {
    readonly subjects: readonly {
      readonly name: string;
      readonly socketPath: string;
      readonly pid: number;
    }[];
    readonly requestFile: string;
    readonly answerBytes: number;
    readonly inFlight: number;
  },
): Promise<readonly Row[]> {
  const { subjects, requestFile, answerBytes, inFlight } = load;
  const full = inFlight === 1 ? 15_000 : 50_000;
  const calls = length === "quick" ? 1_000 : full;
  const rounds = length === "quick" ? 2 : 9;
  const rates = subjects.map((): number[] => []);
  const times = subjects.map((): number[] => []);
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, { name, socketPath, pid }] of subjects.entries()) {
      const usedUs = processorTimeUs(pid);
      const result = await runLoad({ socketPath, path, requestFile, calls, inFlight });
      if (result.dataBytes !== calls * (frameHeadBytes + answerBytes)) {
        throw new Error(`${name} did not give the same answer to every call: ${JSON.stringify(result)}`);
      }
      if (round === 0) continue;
      rates[index]?.push(result.callsPerSecond);
      times[index]?.push((processorTimeUs(pid) - usedUs) / calls);
    }
    progress(`  ${inFlight} in flight, round ${round} of ${rounds}`);
  }
  const [ours = [], bare = []] = rates;
  const [oursUs = [], bareUs = []] = times;
  return [
    {
      what: `GetSession, ${inFlight} in flight`,
      unit: "calls/s",
      ours: sampleOf(ours),
      bare: { what: "grpc-js echo", sample: sampleOf(bare) },
      ratio: pairedRatio(ours, bare),
      target: { of: "ratio", is: "at least", value: 0.8 },
    },
    {
      what: `  its processor time, ${inFlight} in flight`,
      unit: "us/call",
      ours: sampleOf(oursUs),
      bare: { what: "grpc-js echo", sample: sampleOf(bareUs) },
      ratio: pairedRatio(oursUs, bareUs),
      target: { of: "none" },
    },
  ];
}
