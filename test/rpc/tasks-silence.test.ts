import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { TaskState } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, openTask, registerWorker, stateOf } from "../tasks/open-task.ts";

const env = { BAAAHT_TASKS_RECONNECT_GRACE: "300ms", BAAAHT_TASKS_RESTART_GRACE: "300ms" };
let server: TestServer;
let client: Client;

beforeAll(async () => {
  server = await startServer({ env });
  client = server.client;
});

afterAll(async () => {
  expect(server.logs()).not.toContain('"level":"error"');
  await server?.[Symbol.asyncDispose]();
});

const beat = { case: "heartbeat", value: {} } as const;

/** A worker that neither keeps its token nor holds a line, with two tasks that it has begun. */
async function plainWorker() {
  const { agentId } = await registerWorker(client, { seats: 2 });
  const ids = [await execute(client, { agentId }), await execute(client, { agentId })] as const;
  await client.agent.heartbeat({ agentId });
  const begin = async (taskId: string) => {
    const stream = await openTask(client, { taskId, payload: beat });
    stream.output("x");
    stream.send(beat);
    await stream.next();
    await stream.next();
    return stream;
  };
  return { agentId, ids, streams: [await begin(ids[0]), await begin(ids[1])] as const };
}

async function reasonOf(of: Client, taskId: string): Promise<string> {
  return (await of.agent.getTaskStatus({ taskId })).task?.stateReason ?? "";
}

/** Waits until a task has failed because its worker was lost. */
async function lost(taskId: string): Promise<void> {
  await using watcher = await openTask(client, { taskId, payload: { case: "input", value: {} } });
  expect(await watcher.nextOf("error")).toMatchObject({ code: "WORKER_LOST" });
}

describe("a worker that says nothing but that it is there", () => {
  test("keeps a task whose stream it has opened again when it says that it is at it", async () => {
    const { agentId, ids, streams } = await plainWorker();
    await client.agent.heartbeat({ agentId, activeTasks: [ids[0]] });
    await streams[0].cut();
    await using again = await openTask(client, { taskId: ids[0], payload: beat });
    await again.next();
    await streams[1].cut();
    await lost(ids[1]); // its time has begun after the other's
    expect(await stateOf(client, ids[0])).toBe(TaskState.RUNNING);
    again.complete();
    await again.rest();
    expect(await stateOf(client, ids[0])).toBe(TaskState.COMPLETED);
  });

  test("keeps a task over a restart of the server when it says that it is at it", async () => {
    const { agentId, ids } = await plainWorker();
    await server.kill();
    const { dataDir, socketPath } = server;
    // Long enough for a beat after the start, also on a machine that is busy.
    const patient = { ...env, BAAAHT_TASKS_RESTART_GRACE: "3s" };
    await using again = await startServer({ env: patient, dataDir, socketPath });
    client = again.client;
    await client.agent.heartbeat({ agentId, activeTasks: [ids[0]] });
    await lost(ids[1]);
    expect(await stateOf(client, ids[0])).toBe(TaskState.RUNNING);
    await using stream = await openTask(client, { taskId: ids[0], payload: beat });
    stream.complete();
    await stream.rest();
    expect(await stateOf(client, ids[0])).toBe(TaskState.COMPLETED);
  });
});

test("a worker that came back while the server was stopped keeps its task", async () => {
  await using own = await startServer({ env: { BAAAHT_TASKS_RECONNECT_GRACE: "1s" } });
  const { agentId, metadata } = await registerWorker(own.client);
  const taskId = await execute(own.client, { agentId });
  await using first = await openTask(own.client, { taskId, payload: beat }, { metadata });
  const next = await execute(own.client, { agentId });
  await first.cut();
  // Who waits for the agent is told when the server has seen that.
  while (!(await reasonOf(own.client, next)).endsWith("is not there"));
  process.kill(own.pid, "SIGSTOP");
  const coming = openTask(own.client, { taskId, payload: beat }, { metadata });
  await Bun.sleep(3_000); // the time in question itself
  process.kill(own.pid, "SIGCONT");
  await using again = await coming;
  expect(again.headers.get("x-baaaht-attempt")).toBe("1");
  again.complete();
  await again.rest();
  const { task } = await own.client.agent.getTaskStatus({ taskId });
  expect(task).toMatchObject({ state: TaskState.COMPLETED, attempt: 1 });
}, 30_000);
