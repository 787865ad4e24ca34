import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { connect } from "../src/client/client.ts";
import { TaskStrands } from "../src/client/task-strands.ts";
import type { StreamTaskRequestSchema } from "../src/gen/proto/agent/v1/agent_pb.ts";
import { PushedFrames } from "../test/client/pushed-frames.ts";
import { startServer } from "../test/server.ts";
import { compileBare, startBare } from "./bare-program.ts";
import type { Figure } from "./figure.ts";
import { median, sampleOf } from "./statistics.ts";
import { execute, follow, run, startTaskWorker } from "./task-call.ts";

const path = "/proto.agent.v1.AgentService/StreamTask";
const warmUp = 50;

/** One task at a time: from a caller to a worker that does it at once, and back; beside a frame that is sent back. */
export const taskRoundTrip: Figure = {
  name: "task-round-trip",
  measure: async (bench) => {
    const rounds = bench.length === "quick" ? 20 : 1_000;
    const dataDir = join(bench.folder, "task-data");
    await using server = await startServer({ program: [bench.program], dataDir });
    await using _worker = await startTaskWorker(server, 1);
    const bareSocket = join(bench.folder, "bare-task.sock");
    await using _bare = await startBare([
      await compileBare("bare-bidi-echo", bench.folder),
      path,
      bareSocket,
    ]);
    await using bareClient = connect({ address: `unix://${bareSocket}` });
    const frames = new PushedFrames<MessageInitShape<typeof StreamTaskRequestSchema>>();
    const echoes = bareClient.agent.streamTask(frames)[Symbol.asyncIterator]();
    await using strands = new TaskStrands(server.client);
    const ours: number[] = [];
    const apart: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round < rounds + warmUp; round += 1) {
      const begin = performance.now();
      await run(strands, "echo");
      const took = performance.now() - begin;
      const apartBegin = performance.now();
      await follow(server.client, await execute(server.client, "echo"));
      const tookApart = performance.now() - apartBegin;
      const bareBegin = performance.now();
      frames.push({ payload: { case: "heartbeat", value: {} } });
      await echoes.next();
      if (round < warmUp) continue;
      ours.push(took);
      apart.push(tookApart);
      bare.push(performance.now() - bareBegin);
    }
    frames.end();
    return [
      {
        what: "task: caller to worker to caller, accepted and ended durably",
        unit: "ms",
        ours: sampleOf(ours),
        bare: { what: "bidi echo", sample: sampleOf(bare) },
        target: { of: "ours", is: "at most", value: 3 },
      },
      {
        what: "  that of the two, over the latter",
        unit: "ms",
        ours: sampleOf([median(ours) - median(bare)]),
        target: { of: "none" },
      },
      {
        what: "  with calls of its own for each task",
        unit: "ms",
        ours: sampleOf(apart),
        target: { of: "none" },
      },
    ];
  },
};
