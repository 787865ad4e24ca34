import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { TaskState } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, type OpenTask, openTask, registerWorker } from "../tasks/open-task.ts";
import { type SilentWorker, startSilentWorker } from "../tasks/silent-worker-process.ts";

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

const beat = { case: "heartbeat", value: {} } as const;

/** A task that a worker of this process began and lost to one of another process, which has not opened its stream. */
interface Passed extends AsyncDisposable {
  readonly taskId: string;
  /** The stream of the worker that has lost it. */
  readonly old: OpenTask;
  readonly next: SilentWorker;
}

async function passed(): Promise<Passed> {
  const { agentId } = await registerWorker(client);
  const taskId = await execute(client, { config: { command: "x", maxRetries: 1n } });
  const watcher = await openTask(client, { taskId, payload: { case: "input", value: {} } });
  await client.agent.heartbeat({ agentId });
  const old = await openTask(client, { taskId, payload: beat });
  await old.next();
  await until(watcher, TaskState.RUNNING, agentId);
  const next = await startSilentWorker(server);
  await client.agent.unregister({ agentId });
  await until(watcher, TaskState.PENDING, next.agentId);
  return {
    taskId,
    old,
    next,
    [Symbol.asyncDispose]: async () => {
      await watcher.cut();
      await client.agent.cancelTask({ taskId, force: true });
      await client.agent.unregister({ agentId: next.agentId });
      await next[Symbol.asyncDispose]();
    },
  };
}

/** Waits until the one who watches a task has heard that it is with an agent, in a state. */
async function until(watcher: OpenTask, state: TaskState, agentId: string): Promise<void> {
  for (;;) {
    const status = await watcher.nextOf("status");
    if (status.state === state && status.message.endsWith(agentId)) return;
  }
}

describe("a worker whose task was handed to another process", () => {
  test("can't complete it on the stream that it has open", async () => {
    await using task = await passed();
    task.old.complete(42);
    const refused = await thrown(() => task.old.rest());
    expect(refused).toMatchObject({ kind: "aborted", details: { reason: "ATTEMPT_FENCED" } });
    const { task: now } = await client.agent.getTaskStatus({ taskId: task.taskId });
    expect(now).toMatchObject({ state: TaskState.PENDING, attempt: 2, agentId: task.next.agentId });
  });

  test("can't report on it on a stream that it opens anew without saying for whom it speaks", async () => {
    await using task = await passed();
    await task.old.cut();
    for (const report of ["output", "complete"] as const) {
      await using again = await openTask(client, { taskId: task.taskId, payload: beat });
      if (report === "output") again.output("stale");
      else again.complete(42);
      const refused = await thrown(() => again.rest());
      expect(refused).toMatchObject({ kind: "aborted", details: { reason: "ATTEMPT_FENCED" } });
    }
    const { task: now } = await client.agent.getTaskStatus({ taskId: task.taskId });
    expect(now).toMatchObject({ state: TaskState.PENDING, attempt: 2, outputBytes: 0n });
  });
});
