import { afterAll, beforeAll, expect, test } from "bun:test";
import { TaskStrands } from "../../src/client/task-strands.ts";
import { Failure } from "../../src/failure.ts";
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
        case "large":
          for (let piece = 0; piece < LARGE_PIECES; piece += 1) await write(largePiece(piece));
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

const LARGE_PIECES = 4;

/** More than a strand takes, so that the one behind it ends the strand. */
function largePiece(piece: number): string {
  return `${piece}`.padStart(1_000_000, ".");
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

test("runWorker() leaves a strand that has hardly begun for a stream of its own, and callers of both kinds get every byte", async () => {
  await using worker = await startWorker();
  await using strands = new TaskStrands(server.client);
  const written = Array.from({ length: LARGE_PIECES }, (_, piece) => largePiece(piece)).join("");
  const request = { type: TaskType.CUSTOM, config: { command: "large" } };
  const texts = (payload: StreamTaskResponse["payload"]) =>
    payload.case === "output" ? [payload.value.text] : [];
  /** Reads a task's output from a byte on by a stream of its own. */
  const byStream = async (taskId: string, offset = 0n) => {
    await using caller = await openTask(server.client, {
      taskId,
      offset,
      payload: { case: "heartbeat", value: {} },
    });
    const frames = await caller.rest();
    expect(frames.at(-1)?.case).toBe("complete");
    return frames.flatMap(texts).join("");
  };
  // The worker waits for nothing before it writes from the second on, when it knows that the server has strands.
  for (let task = 1; task <= 4; task += 1) {
    const strand = strands.execute(request);
    const { taskId } = await strand.accepted;
    const got: string[] = [];
    let failure: Failure | undefined;
    try {
      for await (const { payload } of strand) got.push(...texts(payload));
    } catch (error) {
      failure = Failure.from(error);
    }
    expect(failure?.details.reason).toBe("STRAND_FULL");
    got.push(await byStream(taskId, BigInt(failure?.details.metadata?.offset ?? 0)));
    expect(got.join("") === written).toBe(true);
    expect((await byStream(taskId)) === written).toBe(true);
    expect(await worker.heard("task_over", task)).toMatchObject({ report: { how: "completed" } });
  }
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
