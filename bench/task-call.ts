import { join } from "node:path";
import type { Client } from "../src/client/client.ts";
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
