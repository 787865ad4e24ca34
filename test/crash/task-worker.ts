import { type Client, connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { runWorker } from "../../src/worker/worker.ts";
import { seeded } from "./random.ts";

// A process with several workers of a crash run: it says which tasks it begins, and does them until it is killed.

const [socketPath = "", name = "", seedText = "0", countText = "1"] = process.argv.slice(2);
const random = seeded(Number(seedText));
const never = new AbortController();

/** From a worker process to the run: one of its workers begins a task. */
export interface Begun {
  readonly taskId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const workers = Array.from({ length: Number(countText) }, async (_, at) => {
  const client = connect({ address: `unix://${socketPath}`, reconnectIntervalMs: 100 });
  for (;;) {
    try {
      await client.ready();
      await work(client, `${name}w${at}`);
    } catch (error) {
      // The server was killed before it had registered this worker for the first time.
      if (Failure.from(error)?.kind !== "unavailable") throw error;
    }
  }
});
await Promise.all(workers);

async function work(client: Client, workerName: string): Promise<void> {
  await runWorker({
    client,
    name: workerName,
    capabilities: { tasks: ["custom"], maxConcurrentTasks: 4 },
    heartbeatMs: 500,
    signal: never.signal,
    run: async ({ task, write, progress, signal }) => {
      process.send?.({ taskId: task.id, at: Date.now() } satisfies Begun);
      await write(`${task.name} `);
      for (let step = random.between(0, 3); step > 0 && !signal.aborted; step -= 1) {
        await Bun.sleep(random.between(0, 80));
        await progress(1 / (step + 1));
      }
      if (random.next() < 0.1) throw new Error(`${task.name} does not want to`);
      await write(task.name);
      return { exitCode: random.between(0, 3) };
    },
  });
}
