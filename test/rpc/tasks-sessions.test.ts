import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { watch } from "../../src/client/watch.ts";
import { AgentState, TaskPriority, TaskState, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { openLine } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, openTask, registerWorker, stateOf } from "../tasks/open-task.ts";

let server: TestServer;
let client: Client;

beforeAll(async () => {
  server = await startServer({ env: { BAAAHT_TASKS_CANCEL_GRACE: "100ms" } });
  client = server.client;
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

const beat = { case: "heartbeat", value: {} } as const;
const nobody = "019ab000-0000-7000-8000-000000000000";

async function session(): Promise<string> {
  return (await client.orchestrator.createSession({})).sessionId;
}

describe("ExecuteTask()", () => {
  test("refuses what can't be: unknown sessions, agents and types, closed sessions, numbers that make no sense", async () => {
    const closed = await session();
    await client.orchestrator.closeSession({ sessionId: closed });
    const config = { command: "x" };
    const cases = [
      [{ sessionId: nobody, config }, "not_found", "SESSION_NOT_FOUND"],
      [{ agentId: nobody, config }, "not_found", "AGENT_NOT_FOUND"],
      [{ sessionId: closed, config }, "failed_precondition", "SESSION_CLOSED"],
      [{ config, type: 99 as TaskType }, "invalid_argument", "type"],
      [{ config, priority: 99 as TaskPriority }, "invalid_argument", "priority"],
      [{ config: { timeoutNs: -1n } }, "invalid_argument", "config.timeout_ns"],
      [{ config: { deadlineNs: 2n ** 62n } }, "invalid_argument", "config.deadline_ns"],
      [{ config: { maxRetries: 101n } }, "invalid_argument", "config.max_retries"],
      [{ config: { command: "x".repeat(300_000) } }, "invalid_argument", "config"],
      [{ config: { inputData: new Uint8Array(17 << 20) } }, "invalid_argument", "config.input_data"],
      [{ config, name: "n".repeat(257) }, "invalid_argument", "name"],
    ] as const;
    for (const [request, kind, what] of cases) {
      const refused = await thrown(() => client.agent.executeTask({ type: TaskType.CUSTOM, ...request }));
      const { reason, violations = [] } = refused.details;
      expect([refused.kind, [reason, ...violations.map(({ field }) => field)].includes(what), what]).toEqual([
        kind,
        true,
        what,
      ]);
    }
    expect(await thrown(() => client.agent.executeTask({ config }))).toMatchObject({
      kind: "invalid_argument",
    });
    expect(await thrown(() => client.agent.executeTask({ type: TaskType.CUSTOM }))).toMatchObject({
      kind: "invalid_argument",
    });
  });

  test("with an idempotency key gives the first task again, and refuses other content", async () => {
    const asked = { type: TaskType.CUSTOM, config: { command: "x", inputData: Buffer.from("in") } };
    const idempotencyKey = crypto.randomUUID();
    const first = await client.agent.executeTask({ ...asked, idempotencyKey });
    const again = await client.agent.executeTask({ ...asked, idempotencyKey });
    expect(again.taskId).toBe(first.taskId);
    const other = { ...asked, config: { command: "x", inputData: Buffer.from("on") } };
    const refused = await thrown(() => client.agent.executeTask({ ...other, idempotencyKey }));
    expect(refused).toMatchObject({ kind: "already_exists", details: { reason: "IDEMPOTENCY_KEY_REUSED" } });
    await client.agent.cancelTask({ taskId: first.taskId });
  });
});

describe("a session", () => {
  test("names its tasks, and gives them up when it is closed, those that wait and those that run", async () => {
    const sessionId = await session();
    const { agentId, metadata } = await registerWorker(client);
    await using line = await openLine(client, agentId);
    const runs = await execute(client, { agentId, sessionId });
    await line.message();
    await using worker = await openTask(client, { taskId: runs, payload: beat }, { metadata });
    const waits = await execute(client, { agentId, sessionId });
    const context = (await client.orchestrator.getSession({ sessionId })).session?.context;
    expect(context?.taskHistory).toEqual([runs, waits]);
    expect(context?.currentTaskId).toBe(waits);
    await client.orchestrator.closeSession({ sessionId, reason: "over" });
    expect(await worker.nextOf("status")).toMatchObject({
      state: TaskState.CANCELLED,
      message: "its session was closed: over",
    });
    worker.send({ case: "status", value: { state: TaskState.CANCELLED } });
    await worker.rest();
    await using watcher = await openTask(client, { taskId: waits, payload: beat });
    expect((await watcher.rest()).at(-1)).toMatchObject({ case: "error", value: { code: "CANCELLED" } });
    expect(await stateOf(client, runs)).toBe(TaskState.CANCELLED);
    const after = (await client.orchestrator.getSession({ sessionId })).session?.context;
    expect(after).toMatchObject({ currentTaskId: "", taskHistory: [runs, waits] });
  });
});

test("CloseSession() lets no agent have a task of the session any more, however many are to be given up", async () => {
  await using own = await startServer();
  const { orchestrator } = own.client;
  const { sessionId } = await orchestrator.createSession({});
  const many = 1_500;
  await Promise.all(Array.from({ length: many }, () => execute(own.client, { sessionId })));
  await orchestrator.closeSession({ sessionId });
  await registerWorker(own.client, { seats: many });
  const types = [EventType.TASK_UPDATED, EventType.TASK_FAILED];
  let ended = 0;
  for await (const event of watch(own.client, { fromStart: true, filter: { sessionId, types } })) {
    expect(event.data).toMatchObject({ state: "cancelled", reason: "its session was closed" });
    ended += 1;
    if (ended === many) break;
  }
}, 60_000);

describe("ListTasks()", () => {
  test("finds tasks by all that a filter has, newest first, in pages, and counts them", async () => {
    const sessionId = await session();
    const ids: string[] = [];
    for (let at = 0; at < 5; at += 1) {
      const type = at % 2 === 0 ? TaskType.CUSTOM : TaskType.DATA_PROCESSING;
      const priority = at < 3 ? TaskPriority.HIGH : TaskPriority.LOW;
      ids.push(await execute(client, { sessionId, type, priority, config: { inputData: Buffer.from("x") } }));
    }
    await client.agent.cancelTask({ taskId: ids[0] ?? "" });
    const list = async (filter: Parameters<typeof client.agent.listTasks>[0]["filter"]) => {
      const { tasks, totalCount } = await client.agent.listTasks({
        filter: { sessionId, ...filter } as never,
      }); // a part of it
      expect(totalCount).toBe(tasks.length);
      return tasks.map(({ id }) => ids.indexOf(id));
    };
    expect(await list({})).toEqual([4, 3, 2, 1, 0]);
    expect(await list({ state: TaskState.QUEUED })).toEqual([4, 3, 2, 1]);
    expect(await list({ type: TaskType.CUSTOM })).toEqual([4, 2, 0]);
    expect(await list({ priority: TaskPriority.LOW, type: TaskType.CUSTOM })).toEqual([4]);
    const { task } = await client.agent.getTaskStatus({ taskId: ids[2] ?? "" });
    const { createdAt } = task ?? {};
    if (createdAt === undefined) throw new Error("a task has a time");
    const before = await list({ createdBefore: createdAt });
    const after = await list({ createdAfter: createdAt });
    expect(after).toEqual(expect.arrayContaining([4, 3, 2]));
    expect([...after, ...before]).toEqual([4, 3, 2, 1, 0]);
    expect(await list({ createdAfter: createdAt, type: TaskType.CUSTOM })).toEqual(
      after.filter((at) => at % 2 === 0),
    );
    const far = { seconds: 253_402_300_799n, nanos: 0 }; // the end of the year 9999, which no id can name
    expect(await list({ createdAfter: far })).toEqual([]);
    expect(await list({ createdBefore: far, createdAfter: { seconds: -1n, nanos: 0 } })).toEqual([
      4, 3, 2, 1, 0,
    ]);
    const pages: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await client.agent.listTasks({ filter: { sessionId }, pageSize: 2, pageToken });
      expect(page.totalCount).toBe(5);
      pages.push(...page.tasks.map(({ id }) => id));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(pages).toEqual(ids.toReversed());
    const all = await client.agent.listTasks({
      filter: { state: TaskState.QUEUED, priority: TaskPriority.HIGH },
    });
    expect(all.totalCount).toBe(all.tasks.length);
    expect(all.tasks.every(({ config }) => config?.inputData.length === 0)).toBe(true);
    expect(task?.config?.inputData.length).toBe(1);
    await client.orchestrator.closeSession({ sessionId });
  });
});

describe("an agent", () => {
  test("shows the tasks that it was given, and the service how many there are", async () => {
    const { agentId } = await registerWorker(client);
    const taskId = await execute(client, { agentId });
    const { agent } = await client.agent.getAgent({ agentId });
    expect(agent).toMatchObject({ activeTasks: [taskId], state: AgentState.BUSY });
    const status = await client.agent.getStatus({});
    expect(status.state).toBe(AgentState.BUSY);
    expect(status.activeTasks).toBeGreaterThan(0);
    await client.agent.cancelTask({ taskId, force: true });
    expect((await client.agent.getAgent({ agentId })).agent).toMatchObject({
      activeTasks: [],
      state: AgentState.IDLE,
    });
  });
});

test("leases, waiting tasks, output and what came of it survive a server that is killed", async () => {
  await using before = await startServer();
  const { agentId, metadata } = await registerWorker(before.client);
  const line = await openLine(before.client, agentId);
  const runs = await execute(before.client, { agentId });
  await line.message();
  const worker = await openTask(before.client, { taskId: runs, payload: beat }, { metadata });
  worker.output("before ");
  const waits = await execute(before.client, { agentId });
  await using caller = await openTask(before.client, { taskId: runs, payload: { case: "input", value: {} } });
  await caller.nextOf("output");
  while ((await before.client.agent.getTaskStatus({ taskId: runs })).task?.outputBytes !== 7n);
  // What a worker wrote reaches the disk within 25 ms; a durable call that begins later ends after that.
  await Bun.sleep(100); // the time in question itself
  await before.kill();

  await using after = await startServer({ dataDir: before.dataDir, socketPath: before.socketPath });
  expect(await stateOf(after.client, runs)).toBe(TaskState.RUNNING);
  expect(await stateOf(after.client, waits)).toBe(TaskState.QUEUED);
  await using again = await openTask(after.client, { taskId: runs, payload: beat }, { metadata });
  expect(again.headers.get("x-baaaht-attempt")).toBe("1");
  expect(again.headers.get("x-baaaht-output-bytes")).toBe("7");
  again.output("after");
  await using newLine = await openLine(after.client, agentId);
  again.complete();
  await again.rest();
  const next = await newLine.message();
  expect(next.payload.case === "taskMessage" && next.payload.value.taskId).toBe(waits);
  await using late = await openTask(after.client, { taskId: runs, payload: beat });
  const frames = await late.rest();
  const text = frames.flatMap((frame) =>
    frame.case === "output" ? [Buffer.from(frame.value.data).toString()] : [],
  );
  expect(text.join("")).toBe("before after");
}, 30_000);

test("a task that has waited for long is before a more urgent one, also after a restart of the server", async () => {
  const env = { BAAAHT_TASKS_AGEING: "1s" };
  await using before = await startServer({ env });
  const old = await execute(before.client, { priority: TaskPriority.LOW });
  await Bun.sleep(1_000); // the time in question itself
  await before.kill();
  const { dataDir, socketPath } = before;
  await using after = await startServer({ dataDir, socketPath, env });
  const urgent = await execute(after.client, { priority: TaskPriority.NORMAL });
  const { agentId } = await registerWorker(after.client, { seats: 1 });
  await using line = await openLine(after.client, agentId);
  const { payload } = await line.message();
  expect(payload.case === "taskMessage" && payload.value.taskId).toBe(old);
  expect(await stateOf(after.client, urgent)).toBe(TaskState.QUEUED);
}, 30_000);
