import { join } from "node:path";
import { startServer } from "../test/server.ts";
import type { Figure } from "./figure.ts";
import { sampleOf } from "./statistics.ts";
import { execute, follow, startTaskWorker } from "./task-call.ts";

/** How long the server waits for a worker whose stream has ended, milliseconds; taken off what is measured. */
const graceMs = 10;

/** From the kill of a worker to its task's first output from another one. */
export const lostWorker: Figure = {
  name: "lost-worker",
  measure: async (bench) => {
    const rounds = bench.length === "quick" ? 2 : 20;
    await using server = await startServer({
      program: [bench.program],
      dataDir: join(bench.folder, "lost-worker-data"),
      env: { BAAAHT_TASKS_RECONNECT_GRACE: `${graceMs}ms`, BAAAHT_AGENTS_GRACE: "100ms" },
    });
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const first = await startTaskWorker(server, 1);
      const taskId = await execute(server.client, "wait");
      await follow(server.client, taskId, (bytes) => bytes >= "begun".length);
      await using _second = await startTaskWorker(server, 1);
      const again = follow(server.client, taskId, (bytes) => bytes >= 2 * "begun".length);
      const begin = performance.now();
      process.kill(first.pid, "SIGKILL");
      await again;
      times.push(performance.now() - begin - graceMs);
      await server.client.agent.cancelTask({ taskId, force: true });
      await first[Symbol.asyncDispose]();
    }
    return [
      {
        what: `worker killed to its task running elsewhere, without ${graceMs} ms of grace`,
        unit: "ms",
        ours: sampleOf(times),
        target: { of: "ours", is: "at most", value: 100 },
      },
    ];
  },
};
