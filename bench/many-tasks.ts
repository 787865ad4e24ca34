import { join } from "node:path";
import type { Client } from "../src/client/client.ts";
import { TaskStrands } from "../src/client/task-strands.ts";
import { TaskType } from "../src/gen/proto/agent/v1/agent_pb.ts";
import { startServer, type TestServer } from "../test/server.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { pairedRatio, sampleOf } from "./statistics.ts";
import { run, startTaskWorker } from "./task-call.ts";

const few = 100;
const inFlight = 64;

/** What a long queue costs: each number with a hundred tasks that wait, and with many. */
export const manyTasks: Figure = {
  name: "many-tasks",
  measure: async (bench) => {
    const many = bench.length === "quick" ? 1_000 : 100_000;
    const short = await measured(bench, few);
    const long = await measured(bench, many);
    const count = many.toLocaleString("en-US");
    return [
      ratioRow(
        { what: `accepting tasks with ${count} that wait, over ${few}`, least: 0.9 },
        long.rates,
        short.rates,
      ),
      { what: "  the former", unit: "tasks/s", ours: sampleOf(long.rates), target: { of: "none" } },
      row(`a task with ${count} others that wait, caller to caller`, long.dispatch, short.dispatch),
      row(`a page of 100 of ${count} tasks`, long.page, short.page),
    ];
  },
};

interface Measured {
  readonly rates: readonly number[];
  readonly dispatch: readonly number[];
  readonly page: readonly number[];
}

async function measured(bench: Bench, waiting: number): Promise<Measured> {
  const rounds = bench.length === "quick" ? 10 : 200;
  const dataDir = join(bench.folder, `many-tasks-${waiting}`);
  await using server = await startServer({ program: [bench.program], dataDir });
  bench.progress(`  queueing ${waiting} tasks`);
  await queue(server.client, waiting);
  const rates = await enqueueRates(bench, server);
  await using _worker = await startTaskWorker(server, 1);
  await using strands = new TaskStrands(server.client);
  const dispatch: number[] = [];
  const page: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const begin = performance.now();
    await run(strands, "echo");
    dispatch.push(performance.now() - begin);
    const pageBegin = performance.now();
    await server.client.agent.listTasks({ pageSize: 100 });
    page.push(performance.now() - pageBegin);
  }
  return { rates, dispatch, page };
}

/** Tasks that nobody does: of another type than the worker's. */
async function queue(client: Client, count: number): Promise<void> {
  let left = count;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left > 0) {
        left -= 1;
        await client.agent.executeTask({ type: TaskType.NETWORK_REQUEST, config: { command: "nobody" } });
      }
    }),
  );
}

async function enqueueRates(bench: Bench, server: TestServer): Promise<readonly number[]> {
  const batch = bench.length === "quick" ? 200 : 2_000;
  const rates: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const begin = performance.now();
    await queue(server.client, batch);
    rates.push(batch / ((performance.now() - begin) / 1_000));
  }
  return rates;
}

function row(what: string, long: readonly number[], short: readonly number[]): Row {
  return {
    what,
    unit: "ms",
    ours: sampleOf(long),
    bare: { what: `with ${few}`, sample: sampleOf(short) },
    target: { of: "ours", is: "at most", value: 5 },
  };
}

function ratioRow(
  { what, least }: { readonly what: string; readonly least: number },
  long: readonly number[],
  short: readonly number[],
): Row {
  return {
    what,
    unit: "ratio",
    ours: sampleOf([pairedRatio(long, short)]),
    target: { of: "ours", is: "at least", value: least },
  };
}
