import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { ControlCommand, MessageType, TaskState } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { runWorker, type WorkerNews } from "../../src/worker/worker.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, openTask, registerWorker, stateOf } from "../tasks/open-task.ts";

let server: TestServer;
let client: Client;

beforeAll(async () => {
  server = await startServer();
  client = server.client;
});

afterAll(async () => {
  expect(server.logs()).not.toContain('"level":"error"');
  await server?.[Symbol.asyncDispose]();
});

/** A worker with two seats, whose tasks end when they get input. */
async function startWorker() {
  const own = server.connect();
  const stop = new AbortController();
  const news: WorkerNews[] = [];
  let more = Promise.withResolvers<void>();
  const ended = runWorker({
    client: own,
    name: "pausing",
    capabilities: { tasks: ["code-execution"], maxConcurrentTasks: 2 },
    signal: stop.signal,
    run: async ({ input }) => {
      for await (const _ of input) return { exitCode: 0 };
      return undefined;
    },
    onNews: (one) => {
      news.push(one);
      more.resolve();
      more = Promise.withResolvers();
    },
  });
  const until = async <What extends WorkerNews["what"]>(what: What) => {
    for (;;) {
      const found = news.find((one): one is Extract<WorkerNews, { what: What }> => one.what === what);
      if (found !== undefined) return found;
      await more.promise;
    }
  };
  const { agentId } = await until("ready");
  return {
    agentId,
    until,
    begun: () => news.flatMap((one) => (one.what === "task_begun" ? [one.taskId] : [])),
    stop: () => stop.abort(),
    ended,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}

async function order(agentId: string, command: ControlCommand): Promise<void> {
  const payload = { case: "controlMessage", value: { command } } as const;
  await client.agent.sendMessage({ agentId, message: { type: MessageType.CONTROL, payload } });
}

/** Waits until the server shows that an agent takes no further tasks, or does again. */
async function shown(agentId: string, takesNoTasks: boolean): Promise<void> {
  while ((await client.agent.getAgent({ agentId })).agent?.takesNoTasks !== takesNoTasks);
}

async function endTask(taskId: string): Promise<void> {
  await using caller = await openTask(client, {
    taskId,
    payload: { case: "input", value: { data: Buffer.from("."), end: true } },
  });
  await caller.nextOf("complete");
}

describe("runWorker()", () => {
  test("is handed nothing more while it is paused, goes on with what it has, and takes more when it is resumed", async () => {
    await using worker = await startWorker();
    const { agentId } = worker;
    const runs = await execute(client, { agentId });
    await worker.until("task_begun");
    await order(agentId, ControlCommand.PAUSE);
    await shown(agentId, true);
    const waits = await execute(client, { agentId });
    const { task } = await client.agent.getTaskStatus({ taskId: waits });
    expect(task).toMatchObject({
      state: TaskState.QUEUED,
      stateReason: `agent "${agentId}" takes no tasks for now`,
    });
    await endTask(runs);
    expect(await stateOf(client, waits)).toBe(TaskState.QUEUED);
    expect(worker.begun()).toEqual([runs]);
    await order(agentId, ControlCommand.RESUME);
    await endTask(waits);
    expect(worker.begun()).toEqual([runs, waits]);
  });

  test("is handed nothing more while it drains, and another worker gets what waits", async () => {
    await using worker = await startWorker();
    const { agentId } = worker;
    const runs = await execute(client, { agentId });
    await worker.until("task_begun");
    worker.stop();
    await shown(agentId, true);
    await using other = await startWorker();
    // Of the two it has the larger share of free seats after this one.
    const ids = [await execute(client), await execute(client)];
    for (const taskId of ids) await endTask(taskId);
    expect(other.begun()).toEqual(ids);
    await endTask(runs);
    await worker.ended;
    expect(worker.begun()).toEqual([runs]);
  });
});

describe("Heartbeat()", () => {
  test("of an agent that takes no further tasks gives those back that it has not begun, but for those that it is at", async () => {
    const { agentId } = await registerWorker(client, { seats: 2 });
    const [kept, back] = [await execute(client, { agentId }), await execute(client, { agentId })];
    const { pendingTasks } = await client.agent.heartbeat({ agentId });
    expect(pendingTasks.toSorted()).toEqual([kept, back].toSorted());
    const beat = { agentId, activeTasks: [kept], takesNoTasks: true };
    expect((await client.agent.heartbeat(beat)).pendingTasks).toEqual([]);
    while ((await stateOf(client, back)) !== TaskState.QUEUED);
    while ((await stateOf(client, kept)) !== TaskState.RUNNING);
    expect((await client.agent.heartbeat({ agentId, activeTasks: [kept] })).pendingTasks).toEqual([]);
    let again: readonly string[] = [];
    while (again.length === 0)
      again = (await client.agent.heartbeat({ agentId, activeTasks: [kept] })).pendingTasks;
    expect(again).toEqual([back]);
    await client.agent.unregister({ agentId });
  });
});
