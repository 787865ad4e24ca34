import { join } from "node:path";
import { CreateSessionRequestSchema } from "../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer } from "../test/server.ts";
import type { Bench, Figure } from "./figure.ts";
import { framed } from "./framed.ts";
import { ensureH2load, runLoad } from "./h2load.ts";
import { serveIn } from "./serve-process.ts";
import { untilServing } from "./serving.ts";
import { sampleOf } from "./statistics.ts";

/** From SIGKILL to serving again, with many sessions stored. */
export const restart: Figure = {
  name: "restart",
  measure: async (bench) => {
    await ensureH2load(bench.progress);
    const sessions = bench.length === "quick" ? 500 : 10_000;
    const rounds = bench.length === "quick" ? 2 : 15;
    const folder = join(bench.folder, "restart");
    await fill(bench, folder, sessions);
    const times: number[] = [];
    let running = serveIn(bench, folder);
    await untilServing(running.socketPath);
    for (let round = 1; round <= rounds; round += 1) {
      const begin = performance.now();
      running.child.kill("SIGKILL");
      await running.child.exited;
      running = serveIn(bench, folder);
      await untilServing(running.socketPath);
      times.push(performance.now() - begin);
    }
    running.child.kill("SIGKILL");
    await running.child.exited;
    return [
      {
        what: `kill -9 to serving, ${sessions.toLocaleString("en-US")} sessions`,
        unit: "ms",
        ours: sampleOf(times),
        target: { of: "ours", is: "at most", value: 250 },
      },
    ];
  },
};

async function fill(bench: Bench, folder: string, sessions: number): Promise<void> {
  await using server = await startServer({ program: [bench.program], dataDir: join(folder, "data") });
  const requestFile = join(bench.folder, "create.request");
  const metadata = { name: "one of many", labels: { team: "a" }, ownerId: "somebody" };
  await Bun.write(requestFile, framed(CreateSessionRequestSchema, { metadata }));
  const path = "/proto.orchestrator.v1.OrchestratorService/CreateSession";
  await runLoad({ socketPath: server.socketPath, path, requestFile, calls: sessions, inFlight: 64 });
  const { totalCount } = await server.client.orchestrator.listSessions({ pageSize: 1 });
  if (totalCount !== sessions)
    throw new Error(`${sessions} sessions were created, and ${totalCount} are listed`);
  await server.kill();
}
