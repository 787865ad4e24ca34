import { afterAll, beforeAll, expect, test } from "bun:test";
import { TaskStrands } from "../../src/client/task-strands.ts";
import { type StreamTaskResponse, TaskState, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { runWorker, type WorkerNews } from "../../src/worker/worker.ts";
import { startServer, type TestServer } from "../server.ts";
import { openTask, outputOf } from "../tasks/open-task.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server[Symbol.asyncDispose]();
});

/** Does what its task's command says, until it is disposed. */
async function startWorker() {
  const stop = new AbortController();
  const news: WorkerNews[] = [];
  let told = Promise.withResolvers<void>();
  /** Waits for the `nth` of a kind of news. */
  const heard = async (what: WorkerNews["what"], nth = 1) => {
    for (;;) {
      const one = news.filter((any) => any.what === what)[nth - 1];
      if (one !== undefined) return one;
      await told.promise;
    }
  };
  const client = server.connect();
  const running = runWorker({
    client,
    name: "strands",
    capabilities: { tasks: ["custom"], maxConcurrentTasks: 4 },
    signal: stop.signal,
    heartbeatMs: 100,
    onNews: (one) => {
      news.push(one);
      told.resolve();
      told = Promise.withResolvers();
    },
    run: async ({ task, input, write, signal }) => {
      switch (task.config?.command) {
        case "echo":
          for await (const data of input) await write(data);
          return { exitCode: 4 };
        case "much":
          for (let piece = 0; piece < 100; piece += 1) await write(`${piece}`.padStart(10_000, "."));
          return undefined;
        case "wait":
          await write("begun");
          await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
          return undefined;
        default:
          throw new Error("there is no such task");
      }
    },
  });
  await heard("ready");
  return {
    news,
    heard,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

async function rest(strand: AsyncIterable<StreamTaskResponse>) {
  const frames = [];
  for await (const { payload } of strand) frames.push(payload);
  return frames;
}

test("TaskStrands.execute() gives a task's input to its worker and its output to the caller", async () => {
  await using _worker = await startWorker();
  await using strands = new TaskStrands(server.client);
  const ends = await Promise.all(
    Array.from({ length: 20 }, async (_, at) => {
      const strand = strands.execute({ type: TaskType.CUSTOM, config: { command: "echo" } });
      const { taskId } = await strand.accepted;
      await strand.send({
        payload: { case: "input", value: { data: Buffer.from(`task ${at}`), end: true } },
      });
      return { taskId, at, frames: await rest(strand) };
    }),
  );
  for (const { taskId, at, frames } of ends) {
    expect(frames.flatMap((frame) => (frame.case === "output" ? [frame.value.text] : [])).join("")).toBe(
      `task ${at}`,
    );
    expect(frames.at(-1)).toMatchObject({ case: "complete", value: { taskId, result: { exitCode: 4 } } });
  }
  expect(strands.served).toBe("yes");
});

test("runWorker() goes on with a stream of its own for a task that has more to say than a strand takes", async () => {
  await using _worker = await startWorker();
  const { taskId } = await server.client.agent.executeTask({
    type: TaskType.CUSTOM,
    config: { command: "much" },
  });
  await using caller = await openTask(server.client, { taskId, payload: { case: "input", value: {} } });
  const frames = await caller.rest();
  const text = frames.flatMap((frame) => (frame.case === "output" ? [frame.value.text] : [])).join("");
  expect(text.length + outputOf(frames).length).toBe(1_000_000);
  expect(text).toBe(Array.from({ length: 100 }, (_, piece) => `${piece}`.padStart(10_000, ".")).join(""));
  expect(frames.at(-1)?.case).toBe("complete");
});

test("runWorker() gives up a task that is cancelled while it is on a strand", async () => {
  await using _worker = await startWorker();
  await using strands = new TaskStrands(server.client);
  const strand = strands.execute({ type: TaskType.CUSTOM, config: { command: "wait" } });
  const { taskId } = await strand.accepted;
  for await (const { payload } of strand) {
    if (payload.case === "output") await server.client.agent.cancelTask({ taskId, reason: "enough" });
    if (payload.case === "error")
      expect(payload.value).toMatchObject({ code: "CANCELLED", message: "enough" });
  }
  const { task } = await server.client.agent.getTaskStatus({ taskId });
  expect(task?.state).toBe(TaskState.CANCELLED);
});

test("runWorker() speaks as who it is now once it was registered anew", async () => {
  await using worker = await startWorker();
  await using strands = new TaskStrands(server.client);
  const echo = async () => {
    const strand = strands.execute({ type: TaskType.CUSTOM, config: { command: "echo" } });
    await strand.send({ payload: { case: "input", value: { end: true } } });
    return (await rest(strand)).at(-1);
  };
  expect(await echo()).toMatchObject({ case: "complete" });
  const first = await worker.heard("registered");
  if (first.what !== "registered") throw new Error("this is other news");
  await server.client.agent.unregister({ agentId: first.agentId });
  await worker.heard("ready", 2);
  expect(await echo()).toMatchObject({ case: "complete" });
  await worker.heard("task_over", 2);
  const tasks = worker.news.filter(({ what }) => what === "task_begun" || what === "task_over");
  const done = { report: { how: "completed" } };
  expect(tasks).toMatchObject([
    { what: "task_begun" },
    { what: "task_over", ...done },
    { what: "task_begun" },
    { what: "task_over", ...done },
  ]);
});
