import { join } from "node:path";
import { TaskStrands } from "../src/client/task-strands.ts";
import { startServer } from "../test/server.ts";
import type { Bench, Figure } from "./figure.ts";
import { processorTimeUs } from "./processor-time.ts";
import { sampleOf } from "./statistics.ts";
import { execute, follow, run, startTaskWorker } from "./task-call.ts";

const callers = 64;
const workers = 8;

/** Many callers and several workers at once, each caller a program with one stream, or with calls for each of its tasks. */
export const taskRate: Figure = {
  name: "task-rate",
  measure: async (bench) => {
    const dataDir = join(bench.folder, "task-rate-data");
    await using server = await startServer({ program: [bench.program], dataDir });
    await using stack = new AsyncDisposableStack();
    for (let worker = 0; worker < workers; worker += 1)
      stack.use(await startTaskWorker(server, callers / workers));
    const clients = Array.from({ length: callers }, () => server.connect());
    const strands = clients.map((client) => stack.use(new TaskStrands(client)));
    const shared = await rates(bench, server.pid, (caller) => run(at(strands, caller), "echo"));
    const apart = await rates(bench, server.pid, async (caller) => {
      const client = at(clients, caller);
      await follow(client, await execute(client, "echo"));
    });
    return [
      {
        what: `tasks of ${callers} callers, ${workers} workers, durable`,
        unit: "tasks/s",
        ours: sampleOf(shared.rates),
        target: { of: "ours", is: "at least", value: 1_500 },
      },
      {
        what: "  the server's processor time",
        unit: "us/task",
        ours: sampleOf(shared.cpu),
        target: { of: "none" },
      },
      {
        what: "  with calls of its own for each task",
        unit: "tasks/s",
        ours: sampleOf(apart.rates),
        target: { of: "none" },
      },
      {
        what: "  the server's processor time",
        unit: "us/task",
        ours: sampleOf(apart.cpu),
        target: { of: "none" },
      },
    ];
  },
};

/** How many tasks are done in a second, and what one costs the server, when each caller has one done after the other. */
async function rates(bench: Bench, pid: number, one: (caller: number) => Promise<void>) {
  const rounds = bench.length === "quick" ? 2 : 7;
  const each = bench.length === "quick" ? 25 : 50;
  const perSecond: number[] = [];
  const cpu: number[] = [];
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const usedUs = processorTimeUs(pid);
    const begin = performance.now();
    await Promise.all(
      Array.from({ length: callers }, async (_, caller) => {
        for (let task = 0; task < each; task += 1) await one(caller);
      }),
    );
    if (round === 0) continue;
    perSecond.push((callers * each) / ((performance.now() - begin) / 1_000));
    cpu.push((processorTimeUs(pid) - usedUs) / (callers * each));
    bench.progress(`  round ${round} of ${rounds}: ${Math.round(perSecond.at(-1) ?? 0)} tasks/s`);
  }
  return { rates: perSecond, cpu };
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new Error(`there is no caller ${index}`);
  return item;
}
