// A worker of one's own: it answers tasks of the type `custom` with their input in capitals, as it comes.
//
//   bun examples/typescript/worker.ts /tmp/baaaht-grpc.sock
//   baaaht task create --type custom --data words.txt

import { connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import type { RunningTask } from "../../src/worker/running-task.ts";
import { runWorker } from "../../src/worker/worker.ts";

const [socket = "/tmp/baaaht-grpc.sock"] = process.argv.slice(2);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
process.on("SIGINT", () => stop.abort());

await using client = connect({ address: `unix://${socket}` });
await runWorker({
  client,
  name: "shouter in TypeScript",
  capabilities: { tasks: ["custom"], maxConcurrentTasks: 4 },
  run: shout,
  signal: stop.signal, // tasks at work may end, then the worker signs off
  onNews: (news) => {
    if (news.what === "ready") show(`ready as ${news.agentId}`);
    if (news.what === "task_over") show(`${news.taskId} ${news.report.how}`);
  },
});
show("signed off");

async function shout({ task, input, write, progress, signal }: RunningTask) {
  if (task.config?.command === "whisper") {
    throw new Failure("unimplemented", 'Cannot do "whisper": this worker can only shout', {
      reason: "TOO_QUIET",
    });
  }
  const data = task.config?.inputData ?? new Uint8Array(0);
  let bytes = 0;
  // A task has its input in itself, or its callers send it.
  for await (const piece of data.byteLength > 0 ? [data] : input) {
    if (signal.aborted) break; // cancelled, or over its time: what is written now still arrives
    await write(new TextDecoder().decode(piece).toUpperCase()); // done when it is on its way
    bytes += piece.byteLength;
  }
  await progress(1, "shouted");
  return { exitCode: 0, metadata: { bytes: String(bytes) } };
}

function show(words: string): void {
  process.stdout.write(`${words}\n`);
}
