import { connect } from "../src/client/client.ts";
import type { RunTask } from "../src/worker/running-task.ts";
import { runWorker } from "../src/worker/worker.ts";

// The worker of the tasks' figures. Words: the server's socket, and how many tasks it does at a time. A task's command is
// `echo`, which answers at once; `wait`, which says that it has begun and goes on; or `write`, which writes as many MB of
// output as its argument says.

const [socketPath = "", atOnce = "1"] = process.argv.slice(2);
const PIECE = new TextEncoder().encode("0123456789abcdef\n".repeat(61_681)).subarray(0, 1_000_000);

const run: RunTask = async ({ task, write, signal }) => {
  const { command, arguments: words } = task.config ?? { command: "", arguments: [] };
  switch (command) {
    case "echo":
      return { text: "done" };
    case "wait":
      await write("begun");
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      return undefined;
    case "write":
      for (let mb = 0; mb < Number(words[0]); mb += 1) await write(PIECE);
      return undefined;
    default:
      throw new Error(`there is no task "${command}"`);
  }
};

await using client = connect({ address: `unix://${socketPath}` });
await runWorker({
  client,
  name: "bench",
  capabilities: { tasks: ["custom"], maxConcurrentTasks: Number(atOnce) },
  run,
  signal: new AbortController().signal,
  onNews: ({ what }) => what === "ready" && process.stdout.write("ready\n"),
});
