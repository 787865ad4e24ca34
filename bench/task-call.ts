import { join } from "node:path";
import type { Client } from "../src/client/client.ts";
import type { TaskStrands } from "../src/client/task-strands.ts";
import { TaskType } from "../src/gen/proto/agent/v1/agent_pb.ts";
import type { TestServer } from "../test/server.ts";
import { type BareProgram, startBare } from "./bare-program.ts";

/** Starts a worker of the tasks' figures in a process of its own. */
export function startTaskWorker(
  server: Pick<TestServer, "socketPath">,
  atOnce: number,
): Promise<BareProgram> {
  const script = join(import.meta.dir, "task-worker.ts");
  return startBare([process.execPath, script, server.socketPath, String(atOnce)]);
}

/** Has a task accepted. */
export async function execute(
  client: Client,
  command: string,
  words: readonly string[] = [],
): Promise<string> {
  const config = { command, arguments: [...words], maxRetries: 10n };
  const { taskId } = await client.agent.executeTask({ type: TaskType.CUSTOM, config });
  return taskId;
}

/** Has a task accepted and done by the way that costs least: one strand of a stream that all of a caller's tasks share. */
export async function run(strands: TaskStrands, command: string): Promise<void> {
  const strand = strands.execute({ type: TaskType.CUSTOM, config: { command, maxRetries: 10n } });
  await strand.accepted;
  let isDone = false;
  for await (const { payload } of strand) {
    if (payload.case === "error") throw new Error(payload.value.message);
    isDone ||= payload.case === "complete";
  }
  if (!isDone) throw new Error("a task's strand has ended, and it does not say how the task did");
}

/** Reads what a task's callers are told until it has ended, or `isEnough` of its output; gives how many bytes that was. */
export async function follow(
  client: Client,
  taskId: string,
  isEnough: (bytes: number) => boolean = () => false,
): Promise<number> {
  const over = Promise.withResolvers<void>();
  async function* frames() {
    yield { taskId, payload: { case: "heartbeat" as const, value: {} } };
    await over.promise;
  }
  let bytes = 0;
  await using answers = client.agent.streamTask(frames());
  try {
    for await (const { payload } of answers) {
      if (payload.case === "error") throw new Error(`task ${taskId}: ${payload.value.message}`);
      if (payload.case === "output") bytes += payload.value.data.byteLength + payload.value.text.length;
      if (isEnough(bytes)) break;
    }
  } finally {
    over.resolve();
  }
  return bytes;
}
