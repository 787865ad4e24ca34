import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { type Task, TaskState } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { type OpenLine, openLine } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, type OpenTask, openTask, outputOf, registerWorker, stateOf } from "../tasks/open-task.ts";

let server: TestServer;
let client: Client;

beforeAll(async () => {
  server = await startServer({
    env: {
      BAAAHT_TASKS_RECONNECT_GRACE: "200ms",
      BAAAHT_TASKS_CANCEL_GRACE: "300ms",
      BAAAHT_TASKS_RETRY_DELAY: "20ms",
      BAAAHT_TASKS_BEGIN_TIMEOUT: "30s",
    },
  });
  client = server.client;
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  expect(server.logs()).not.toContain('"level":"error"');
  await server?.[Symbol.asyncDispose]();
});

const beat = { case: "heartbeat", value: {} } as const;

/** A worker that hears of its tasks over its line. */
async function worker(seats = 1) {
  const { agentId, metadata } = await registerWorker(client, { seats });
  const line = await openLine(client, agentId);
  return {
    agentId,
    metadata,
    line,
    /** Opens the stream of the task that it hears of next. */
    take: async (taskId: string) => {
      await hear(line, taskId);
      return await openTask(client, { taskId, payload: beat }, { metadata });
    },
    open: (taskId: string, attempt?: number) =>
      openTask(
        client,
        { taskId, payload: beat },
        {
          metadata: {
            ...metadata,
            ...(attempt === undefined ? {} : { "x-baaaht-attempt": String(attempt) }),
          },
        },
      ),
    [Symbol.asyncDispose]: () => line[Symbol.asyncDispose](),
  };
}

/** Waits until an agent is told of a task; gives the attempt. */
async function hear(line: OpenLine, taskId: string): Promise<number> {
  for (;;) {
    const { payload, metadata } = await line.message();
    if (payload.case === "taskMessage" && payload.value.taskId === taskId)
      return Number(metadata?.headers.attempt);
  }
}

/** Watches a task until it has ended, and gives it. */
async function ended(taskId: string): Promise<Task | undefined> {
  await using watcher = await openTask(client, { taskId, payload: beat });
  await watcher.rest();
  return (await client.agent.getTaskStatus({ taskId })).task;
}

describe("a worker whose stream ends early", () => {
  test("goes on with the same attempt when it is back in time, and hears how much output there is", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    const first = await one.take(taskId);
    first.output("abc");
    await using caller = await openTask(client, { taskId, payload: { case: "input", value: {} } });
    await caller.nextOf("output");
    await first.cut();
    await using second = await one.open(taskId);
    expect(second.headers.get("x-baaaht-attempt")).toBe("1");
    expect(second.headers.get("x-baaaht-output-bytes")).toBe("3");
    second.output("def");
    second.complete();
    const frames = await caller.rest();
    expect(outputOf(frames)).toBe("def");
    expect(await ended(taskId)).toMatchObject({ state: TaskState.COMPLETED, attempt: 1 });
  });

  test("loses its attempt when it is not: the task is another's, and what the first one sends changes nothing", async () => {
    await using one = await worker();
    const taskId = await execute(client, { config: { command: "x", maxRetries: 1n } });
    const first = await one.take(taskId);
    first.output("old ");
    await using two = await worker();
    await using caller = await openTask(client, { taskId, payload: { case: "input", value: {} } });
    await caller.nextOf("output");
    await first.cut();
    await using second = await two.take(taskId);
    second.output("new");
    await caller.nextOf("output");

    const refused = await thrown(() => one.open(taskId, 1).then((stream) => stream.rest()));
    expect(refused).toMatchObject({ kind: "aborted", details: { reason: "ATTEMPT_FENCED" } });
    const withToken = await thrown(() => one.open(taskId).then((stream) => stream.rest()));
    expect(withToken).toMatchObject({ kind: "aborted", details: { reason: "ATTEMPT_FENCED" } });

    second.complete();
    await caller.rest();
    const task = await ended(taskId);
    expect(task).toMatchObject({
      state: TaskState.COMPLETED,
      attempt: 2,
      agentId: two.agentId,
      outputBytes: 7n,
    });
  });

  test("has its task FAILED with the reason when no retries are left", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await (await one.take(taskId)).cut();
    const task = await ended(taskId);
    expect(task).toMatchObject({ state: TaskState.FAILED, attempt: 1, error: { code: "WORKER_LOST" } });
    expect(task?.error?.message).toContain("stream ended");
  });

  test("gives its task back by signing off, and is told ABORTED when it goes on", async () => {
    await using one = await worker();
    const taskId = await execute(client, { config: { command: "x", maxRetries: 1n } });
    await using held = await one.take(taskId);
    await using two = await worker();
    await client.agent.unregister({ agentId: one.agentId });
    await using taken = await two.take(taskId);
    const refused = await thrown(() => held.rest());
    expect(refused).toMatchObject({ kind: "aborted", details: { reason: "ATTEMPT_FENCED" } });
    taken.complete();
    expect(await ended(taskId)).toMatchObject({ state: TaskState.COMPLETED, attempt: 2 });
  });

  test("is replaced by a newer stream of the same attempt", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using before = await one.take(taskId);
    await using after = await one.open(taskId);
    const refused = await thrown(() => before.rest());
    expect(refused).toMatchObject({ kind: "aborted", details: { reason: "STREAM_REPLACED" } });
    after.complete();
    expect(await ended(taskId)).toMatchObject({ state: TaskState.COMPLETED, attempt: 1 });
  });

  test("leaves a task that it had not begun to others, which costs no retry", async () => {
    const { agentId } = await registerWorker(client);
    const taskId = await execute(client, { config: { command: "x" } });
    expect(await stateOf(client, taskId)).toBe(TaskState.PENDING);
    await using two = await worker();
    await client.agent.unregister({ agentId });
    await using taken = await two.take(taskId);
    taken.complete();
    expect(await ended(taskId)).toMatchObject({ state: TaskState.COMPLETED, attempt: 2 });
  });
});

describe("a worker with a line", () => {
  test("still hears of its tasks when the stream of one of them ends early", async () => {
    await using one = await worker(2);
    const first = await execute(client, { agentId: one.agentId });
    const stream = await one.take(first);
    stream.send(beat);
    await stream.next();
    await stream.cut();
    await using again = await one.open(first);
    await client.agent.heartbeat({ agentId: one.agentId });
    const second = await execute(client, { agentId: one.agentId });
    expect(await hear(one.line, second)).toBe(1);
    again.complete();
    await again.rest();
  });
});

describe("a task that many watch", () => {
  test("lets its worker in, and no more watchers than may be", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    const watchers = Array.from({ length: 64 }, () =>
      openTask(client, { taskId, payload: { case: "input", value: {} } }),
    );
    for (const watcher of watchers) await watcher;
    await using stream = await one.take(taskId);
    await using other = await one.open(taskId);
    expect(await thrown(() => stream.rest())).toMatchObject({ details: { reason: "STREAM_REPLACED" } });
    const refused = await thrown(() =>
      openTask(client, { taskId, payload: beat }).then((more) => more.rest()),
    );
    expect(refused).toMatchObject({ kind: "resource_exhausted", details: { reason: "TOO_MANY_STREAMS" } });
    other.complete();
    for (const watcher of watchers) expect((await (await watcher).rest()).at(-1)?.case).toBe("complete");
  });
});

describe("an attempt that failed", () => {
  test("is tried again after a pause when the task wants that", async () => {
    await using one = await worker();
    const config = { command: "x", maxRetries: 2n, retryOnFailure: true };
    const taskId = await execute(client, { agentId: one.agentId, config });
    for (const attempt of [1, 2, 3]) {
      await using stream = await one.take(taskId);
      expect(stream.headers.get("x-baaaht-attempt")).toBe(String(attempt));
      stream.send({ case: "errorMsg", value: { code: "E", message: `no ${attempt}` } });
      // It waits, or is over: either way this attempt is not in force any more.
      if (attempt < 3) expect(await thrown(() => stream.rest())).toMatchObject({ kind: "aborted" });
      else await stream.rest();
    }
    const task = await ended(taskId);
    expect(task).toMatchObject({
      state: TaskState.FAILED,
      attempt: 3,
      error: { code: "E", message: "no 3" },
    });
  });

  test("ends the task when it does not", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId, config: { command: "x", maxRetries: 5n } });
    await using stream = await one.take(taskId);
    stream.send({ case: "errorMsg", value: { code: "E", message: "no", details: ["a", "b"] } });
    expect((await stream.rest()).at(-1)).toMatchObject({
      case: "status",
      value: { state: TaskState.FAILED },
    });
    expect(await ended(taskId)).toMatchObject({
      state: TaskState.FAILED,
      attempt: 1,
      error: { details: ["a", "b"] },
    });
  });
});

describe("time", () => {
  test("timeout_ns counts from the begin, and its worker is told", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId, config: { timeoutNs: 100_000_000n } });
    await using stream = await one.take(taskId);
    expect((await stream.rest()).at(-1)).toMatchObject({
      case: "status",
      value: { state: TaskState.TIMEOUT },
    });
    expect(await ended(taskId)).toMatchObject({ state: TaskState.TIMEOUT, error: { code: "TIMEOUT" } });
  });

  test("deadline_ns counts from the acceptance, also while the task waits", async () => {
    const { agentId } = await registerWorker(client);
    await execute(client, { agentId }); // takes the only seat
    const taskId = await execute(client, { agentId, config: { deadlineNs: 100_000_000n } });
    const task = await ended(taskId);
    expect(task).toMatchObject({
      state: TaskState.TIMEOUT,
      attempt: 0,
      error: { code: "DEADLINE_EXCEEDED" },
    });
    await client.agent.unregister({ agentId });
  });
});

describe("CancelTask()", () => {
  test("tells the worker on its stream and on its line; the task is CANCELLED when the worker says so", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using stream = await one.take(taskId);
    expect(await client.agent.cancelTask({ taskId, reason: "enough" })).toMatchObject({
      state: TaskState.RUNNING,
      cancelled: true,
    });
    expect(await stream.nextOf("status")).toMatchObject({ state: TaskState.CANCELLED, message: "enough" });
    const { payload } = await one.line.message();
    expect(payload.case === "controlMessage" && payload.value.parameters).toMatchObject({
      task_id: taskId,
      attempt: "1",
      force: "false",
    });
    stream.send({ case: "status", value: { state: TaskState.CANCELLED } });
    await stream.rest();
    const task = await ended(taskId);
    expect(task).toMatchObject({
      state: TaskState.CANCELLED,
      error: { code: "CANCELLED", message: "enough" },
    });
    expect(await client.agent.cancelTask({ taskId })).toMatchObject({
      state: TaskState.CANCELLED,
      cancelled: true,
    });
  });

  test("ends a task whose worker says nothing, after a while", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using stream = await one.take(taskId);
    await client.agent.cancelTask({ taskId });
    expect(await ended(taskId)).toMatchObject({ state: TaskState.CANCELLED });
    await stream.rest();
  });

  test("ends a task whose worker's stream ends, at once", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId, config: { maxRetries: 3n } });
    const stream = await one.take(taskId);
    await client.agent.cancelTask({ taskId });
    await stream.cut();
    expect(await ended(taskId)).toMatchObject({ state: TaskState.CANCELLED, attempt: 1 });
  });

  test("with force does not wait for the worker", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using stream = await one.take(taskId);
    const answer = await client.agent.cancelTask({ taskId, force: true });
    expect(answer).toMatchObject({ state: TaskState.CANCELLED, cancelled: true });
    expect((await stream.rest()).at(-1)).toMatchObject({
      case: "status",
      value: { state: TaskState.CANCELLED },
    });
  });

  test("lets a worker that was faster complete its task", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using stream = await one.take(taskId);
    await client.agent.cancelTask({ taskId });
    stream.complete();
    expect(await ended(taskId)).toMatchObject({ state: TaskState.COMPLETED });
    expect(await client.agent.cancelTask({ taskId })).toMatchObject({
      state: TaskState.COMPLETED,
      cancelled: false,
    });
  });
});

/** So many bytes of what a worker gets as input, which may come in any number of frames. */
async function inputOf(
  stream: OpenTask,
  bytes: number,
): Promise<{ readonly text: string; readonly ends: boolean }> {
  let text = "";
  for (;;) {
    const { data, streamType, end } = await stream.nextOf("output");
    expect(streamType).toBe("stdin");
    text += Buffer.from(data).toString();
    if (text.length >= bytes) return { text, ends: end };
  }
}

describe("input", () => {
  test("reaches the worker in its order, also from before it began, and each attempt from the first byte", async () => {
    await using one = await worker();
    const blocker = await execute(client, { agentId: one.agentId });
    await using busy = await one.take(blocker);
    const taskId = await execute(client, { agentId: one.agentId, config: { maxRetries: 1n } });
    await using caller = await openTask(client, {
      taskId,
      payload: { case: "input", value: { data: Buffer.from("a") } },
    });
    caller.input("b");
    busy.complete();
    await busy.rest();
    const first = await one.take(taskId);
    expect(await inputOf(first, 2)).toMatchObject({ text: "ab", ends: false });
    caller.input("c", { end: true });
    expect(await inputOf(first, 1)).toMatchObject({ text: "c", ends: true });
    await first.cut();
    await one.line.message();
    await using second = await one.open(taskId);
    expect(await inputOf(second, 3)).toMatchObject({ text: "abc", ends: true });
    second.complete();
    expect((await caller.rest()).at(-1)?.case).toBe("complete");
  });

  test("for a task that has ended is FAILED_PRECONDITION, and an empty one joins", async () => {
    const taskId = await execute(client, { type: 7 });
    await client.agent.cancelTask({ taskId });
    const input = { case: "input", value: { data: Buffer.from("x") } } as const;
    const refused = await thrown(() =>
      openTask(client, { taskId, payload: input }).then((stream) => stream.rest()),
    );
    expect(refused).toMatchObject({ kind: "failed_precondition", details: { reason: "TASK_ENDED" } });
    await using joined = await openTask(client, { taskId, payload: { case: "input", value: {} } });
    expect((await joined.rest()).at(-1)).toMatchObject({ case: "error", value: { code: "CANCELLED" } });
  });
});

describe("a worker that lies", () => {
  test("about its progress is INVALID_ARGUMENT, and what goes back changes nothing", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    for (const percent of [Number.NaN, -0.1, 1.1, Number.POSITIVE_INFINITY]) {
      await using stream = await one.open(taskId);
      stream.send({ case: "progress", value: { percent } });
      const refused = await thrown(() => stream.rest());
      expect(refused).toMatchObject({ kind: "invalid_argument" });
      expect(refused).toMatchObject({ details: { violations: [{ field: "progress.percent" }] } });
    }
    await using stream = await one.open(taskId);
    await using watcher = await openTask(client, { taskId, payload: beat });
    stream.send({ case: "progress", value: { percent: 0.7 } });
    expect(await watcher.nextOf("progress")).toMatchObject({ percent: 0.7 });
    stream.send({ case: "progress", value: { percent: 0.2, message: "back" } });
    expect(await watcher.nextOf("progress")).toMatchObject({ percent: 0.7, message: "back" });
    stream.complete();
    await watcher.rest();
  });

  test("about how often a task ends, or about which, changes nothing", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    const other = await execute(client, { agentId: one.agentId });
    await using wrong = await one.take(taskId);
    wrong.send({ case: "complete", value: { taskId: other, result: { exitCode: 9 } } });
    expect(await thrown(() => wrong.rest())).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "complete.task_id" }] },
    });
    await using right = await one.open(taskId);
    right.output("one");
    right.complete(1);
    right.complete(2);
    right.output("two");
    right.send({ case: "errorMsg", value: { message: "three" } });
    await right.rest();
    await using after = await one.open(taskId);
    after.output("four");
    after.complete(4);
    expect((await after.rest()).at(-1)).toMatchObject({
      case: "status",
      value: { state: TaskState.COMPLETED },
    });
    await using late = await openTask(client, { taskId, payload: beat });
    const frames = await late.rest();
    expect(outputOf(frames)).toBe("one");
    expect(frames.at(-1)).toMatchObject({ case: "complete", value: { result: { exitCode: 1 } } });
    expect(await stateOf(client, other)).toBe(TaskState.PENDING);
    await client.agent.cancelTask({ taskId: other });
  });

  test("about being a worker of a task that nobody has is FAILED_PRECONDITION", async () => {
    const taskId = await execute(client, { type: 7 });
    const output = { case: "output", value: { data: Buffer.from("x") } } as const;
    const refused = await thrown(() =>
      openTask(client, { taskId, payload: output }).then((stream) => stream.rest()),
    );
    expect(refused).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "TASK_NOT_HANDED_OUT" },
    });
    await client.agent.cancelTask({ taskId });
  });

  test("can't send what callers send, nor a caller what workers send", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using stream = await one.take(taskId);
    stream.input("x");
    expect(await thrown(() => stream.rest())).toMatchObject({ kind: "invalid_argument" });
    await using caller = await openTask(client, { taskId, payload: { case: "input", value: {} } });
    caller.complete();
    expect(await thrown(() => caller.rest())).toMatchObject({ kind: "invalid_argument" });
    await client.agent.cancelTask({ taskId, force: true });
  });

  test("may be the caller of another's task, with its token and all", async () => {
    await using one = await worker();
    await using two = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using held = await one.take(taskId);
    await using caller = await openTask(
      client,
      { taskId, payload: { case: "input", value: { data: Buffer.from("x") } } },
      { metadata: two.metadata },
    );
    expect(await inputOf(held, 1)).toMatchObject({ text: "x" });
    held.complete();
    expect((await caller.rest()).at(-1)?.case).toBe("complete");
  });

  test("holds its task and goes on with it", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    await using stream = await one.take(taskId);
    await using watcher = await openTask(client, { taskId, payload: beat });
    stream.send({ case: "status", value: { state: TaskState.PAUSED, message: "lunch" } });
    while ((await watcher.nextOf("status")).message !== "lunch");
    expect(await stateOf(client, taskId)).toBe(TaskState.PAUSED);
    stream.send({ case: "status", value: { state: TaskState.RUNNING, message: "back" } });
    while ((await watcher.nextOf("status")).message !== "back");
    expect(await stateOf(client, taskId)).toBe(TaskState.RUNNING);
    stream.complete();
    await watcher.rest();
  });
});

describe("seats", () => {
  test("max_concurrent_tasks is how many tasks an agent has at a time, and 0 means 1", async () => {
    for (const [asked, seats] of [
      [0, 1],
      [3, 3],
    ] as const) {
      const { agentId } = await registerWorker(client, { seats: asked });
      const ids = [];
      for (let at = 0; at < 5; at += 1) ids.push(await execute(client, { agentId }));
      const { pendingTasks } = await client.agent.heartbeat({ agentId });
      expect(pendingTasks).toEqual(ids.slice(0, seats));
      const waiting = (await client.agent.getTaskStatus({ taskId: ids.at(-1) ?? "" })).task;
      expect(waiting).toMatchObject({ state: TaskState.QUEUED });
      expect(waiting?.stateReason).toContain(`is at ${seats} tasks, and takes ${seats}`);
      await client.agent.unregister({ agentId });
      // Asked of an agent that does not come back.
      expect(await ended(ids.at(-1) ?? "")).toMatchObject({
        state: TaskState.FAILED,
        error: { code: "AGENT_UNREGISTERED" },
      });
    }
  });
});
