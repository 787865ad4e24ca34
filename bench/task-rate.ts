import { join } from "node:path";
import { startServer } from "../test/server.ts";
import type { Figure } from "./figure.ts";
import { processorTimeUs } from "./processor-time.ts";
import { sampleOf } from "./statistics.ts";
import { execute, follow, startTaskWorker } from "./task-call.ts";

const callers = 64;
const workers = 8;

/** Many callers and several workers at once. */
export const taskRate: Figure = {
  name: "task-rate",
  measure: async (bench) => {
    const rounds = bench.length === "quick" ? 2 : 7;
    const each = bench.length === "quick" ? 25 : 50;
    const dataDir = join(bench.folder, "task-rate-data");
    await using server = await startServer({ program: [bench.program], dataDir });
    await using stack = new AsyncDisposableStack();
    for (let worker = 0; worker < workers; worker += 1)
      stack.use(await startTaskWorker(server, callers / workers));
    // One client each, as callers are programs of their own.
    const clients = Array.from({ length: callers }, () => server.connect());
    const rates: number[] = [];
    const cpu: number[] = [];
    // The first round warms up and is not counted.
    for (let round = 0; round <= rounds; round += 1) {
      const usedUs = processorTimeUs(server.pid);
      const begin = performance.now();
      await Promise.all(
        clients.map(async (client) => {
          for (let task = 0; task < each; task += 1) await follow(client, await execute(client, "echo"));
        }),
      );
      if (round === 0) continue;
      rates.push((callers * each) / ((performance.now() - begin) / 1_000));
      cpu.push((processorTimeUs(server.pid) - usedUs) / (callers * each));
      bench.progress(`  round ${round} of ${rounds}: ${Math.round(rates.at(-1) ?? 0)} tasks/s`);
    }
    return [
      {
        what: `tasks of ${callers} callers, ${workers} workers, durable`,
        unit: "tasks/s",
        ours: sampleOf(rates),
        target: { of: "ours", is: "at least", value: 1_500 },
      },
      { what: "  the server's processor time", unit: "us/task", ours: sampleOf(cpu), target: { of: "none" } },
    ];
  },
};
