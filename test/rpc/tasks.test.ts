import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TaskState, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { openLine } from "../agents/open-line.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, openTask, outputOf, registerWorker, stateOf } from "../tasks/open-task.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({
    env: { BAAAHT_TASKS_RECONNECT_GRACE: "200ms", BAAAHT_TASKS_CANCEL_GRACE: "300ms" },
  });
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  expect(server.logs()).not.toContain('"error"');
  await server?.[Symbol.asyncDispose]();
});

describe("ExecuteTask()", () => {
  test("hands a task to a worker over its line, and its caller gets what comes out and how it ended", async () => {
    const { client } = server;
    const { agentId, metadata } = await registerWorker(client);
    await using line = await openLine(client, agentId);
    const taskId = await execute(client, { agentId });
    const { metadata: about, payload } = await line.message();
    expect(payload.case === "taskMessage" && payload.value.taskId).toBe(taskId);
    expect(about?.headers).toEqual({ attempt: "1" });

    await using caller = await openTask(client, { taskId, payload: { case: "input", value: {} } });
    await using worker = await openTask(
      client,
      { taskId, payload: { case: "heartbeat", value: {} } },
      { metadata },
    );
    expect(worker.headers.get("x-baaaht-attempt")).toBe("1");
    worker.output("hello ");
    worker.output("world");
    worker.send({ case: "progress", value: { percent: 0.5, message: "half" } });
    expect(await caller.nextOf("progress")).toMatchObject({ percent: 0.5, message: "half" });
    worker.complete(3);
    const told = await caller.rest();
    expect(told.at(-1)).toMatchObject({ case: "complete", value: { taskId, result: { exitCode: 3 } } });
    expect((await worker.rest()).at(-1)).toMatchObject({
      case: "status",
      value: { state: TaskState.COMPLETED },
    });

    await using late = await openTask(client, { taskId, payload: { case: "heartbeat", value: {} } });
    const replayed = await late.rest();
    expect(outputOf(replayed)).toBe("hello world");
    expect(replayed.at(-1)?.case).toBe("complete");
    const { task } = await client.agent.getTaskStatus({ taskId });
    expect(task).toMatchObject({
      state: TaskState.COMPLETED,
      attempt: 1,
      agentId,
      outputBytes: 11n,
      progress: 1,
    });
  });

  test("waits as QUEUED with a reason when nobody can do it", async () => {
    const { task } = await server.client.agent.executeTask({ type: TaskType.CUSTOM, config: {} });
    expect(task).toMatchObject({ state: TaskState.QUEUED, attempt: 0 });
    expect(task?.stateReason).toBe('no agent that can do "custom" is there');
    expect(task?.expiresAt).toBeDefined();
    expect(await server.client.agent.cancelTask({ taskId: task?.id ?? "" })).toMatchObject({
      state: TaskState.CANCELLED,
      cancelled: true,
    });
  });
});

describe("pending_tasks", () => {
  test("has a task until its worker opens the task's stream", async () => {
    const { client } = server;
    const { agentId } = await registerWorker(client);
    const taskId = await execute(client, { agentId });
    expect(await client.agent.heartbeat({ agentId })).toMatchObject({ pendingTasks: [taskId] });
    expect(await stateOf(client, taskId)).toBe(TaskState.PENDING);
    await using worker = await openTask(client, { taskId, payload: { case: "heartbeat", value: {} } });
    expect((await worker.next())?.case).toBe("heartbeat");
    worker.output("x");
    worker.send({ case: "heartbeat", value: {} });
    expect((await worker.next())?.case).toBe("heartbeat");
    expect(await client.agent.heartbeat({ agentId })).toMatchObject({ pendingTasks: [] });
    expect(await stateOf(client, taskId)).toBe(TaskState.RUNNING);
    worker.complete();
    await worker.rest();
    expect(await stateOf(client, taskId)).toBe(TaskState.COMPLETED);
  });
});
