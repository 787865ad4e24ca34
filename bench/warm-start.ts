import type { Figure, Row } from "./figure.ts";
import { percentile, sampleOf } from "./statistics.ts";
import { timeFirstOutput, timeLastFirstOutput, warmServer } from "./warm-pair.ts";

const burst = 20;
const prepared = burst + 4;

/** From CreateContainer to the first output where a container waits for the request, one at a time and many at once. */
export const warmStart: Figure = {
  name: "warm-start",
  measure: async (bench) => {
    await using server = await warmServer(bench, prepared);
    const rounds = bench.length === "quick" ? 3 : 60;
    const bursts = bench.length === "quick" ? 1 : 8;
    const one: number[] = [];
    const last: number[] = [];
    // The first round warms up and is not counted.
    for (let round = 0; round <= rounds; round += 1) {
      await server.untilPrepared(prepared);
      const took = await timeFirstOutput(server);
      if (round > 0) one.push(took);
    }
    for (let round = 0; round <= bursts; round += 1) {
      await server.untilPrepared(prepared);
      const took = await timeLastFirstOutput(server, burst);
      if (round > 0) last.push(took);
      bench.progress(`  burst ${round} of ${bursts}`);
    }
    return rows(one, last);
  },
};

function rows(one: readonly number[], last: readonly number[]): readonly Row[] {
  return [
    {
      what: "create to first output, prepared, p50",
      unit: "ms",
      ours: sampleOf(one),
      target: { of: "ours", is: "at most", value: 20 },
    },
    {
      what: "  create to first output, prepared, p99",
      unit: "ms",
      ours: sampleOf([percentile(one, 99)]),
      target: { of: "none" },
    },
    {
      what: `the same, ${burst} at once, the last one`,
      unit: "ms",
      ours: sampleOf(last),
      target: { of: "ours", is: "at most", value: 60 },
    },
  ];
}
