import { join } from "node:path";
import { startServer } from "../test/server.ts";
import type { Figure } from "./figure.ts";
import { residentMb } from "./processor-time.ts";
import { sampleOf } from "./statistics.ts";
import { execute, follow, startTaskWorker } from "./task-call.ts";

/** How often memory is looked at, milliseconds. */
const everyMs = 20;

/** Much output through one task: how fast it reaches its caller, and what the server holds of it meanwhile. */
export const taskOutput: Figure = {
  name: "task-output",
  measure: async (bench) => {
    const rounds = bench.length === "quick" ? 2 : 7;
    const mb = bench.length === "quick" ? 20 : 100;
    const dataDir = join(bench.folder, "task-output-data");
    await using server = await startServer({ program: [bench.program], dataDir });
    await using _worker = await startTaskWorker(server, 1);
    const rates: number[] = [];
    const peaks: number[] = [];
    // The first round warms up and is not counted.
    for (let round = 0; round <= rounds; round += 1) {
      let peak = residentMb(server.pid);
      const watching = setInterval(() => {
        peak = Math.max(peak, residentMb(server.pid));
      }, everyMs);
      const begin = performance.now();
      const bytes = await follow(server.client, await execute(server.client, "write", [String(mb)]));
      clearInterval(watching);
      if (bytes !== mb * 1_000_000) throw new Error(`${mb} MB were written, and ${bytes} bytes have come`);
      if (round === 0) continue;
      rates.push(mb / ((performance.now() - begin) / 1_000));
      peaks.push(peak);
      bench.progress(
        `  round ${round} of ${rounds}: ${Math.round(rates.at(-1) ?? 0)} MB/s, ${Math.round(peak)} MB`,
      );
    }
    return [
      {
        what: `${mb} MB of output of one task to its caller`,
        unit: "MB/s",
        ours: sampleOf(rates),
        target: { of: "ours", is: "at least", value: 50 },
      },
      {
        what: "  the server's memory at most, resident",
        unit: "MB",
        ours: sampleOf(peaks),
        target: { of: "none" },
      },
      {
        what: "  that of the last round over the first",
        unit: "ratio",
        ours: sampleOf([(peaks.at(-1) ?? 0) / (peaks[0] ?? 1)]),
        target: { of: "ours", is: "at most", value: 1.2 },
      },
    ];
  },
};
