import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TaskState } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { openLine } from "../agents/open-line.ts";
import { startServer, type TestServer } from "../server.ts";
import { execute, openTask, outputOf, registerWorker } from "../tasks/open-task.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({
    env: { BAAAHT_TASKS_MAX_OUTPUT_BYTES: "64KiB", BAAAHT_TASKS_READ_PATIENCE: "200ms" },
  });
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

const beat = { case: "heartbeat", value: {} } as const;

/** A task and the stream of its worker. */
async function running(config: { readonly timeoutNs?: bigint } = {}) {
  const { client } = server;
  const { agentId, metadata } = await registerWorker(client);
  const line = await openLine(client, agentId);
  const taskId = await execute(client, { agentId, config: { command: "true", ...config } });
  await line.message();
  const worker = await openTask(client, { taskId, payload: beat }, { metadata });
  return {
    taskId,
    worker,
    [Symbol.asyncDispose]: async () => {
      await worker[Symbol.asyncDispose]();
      await line[Symbol.asyncDispose]();
    },
  };
}

/** So many bytes that tell each place from the others. */
function bytes(length: number): Buffer {
  const all = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) all.writeUInt32LE(at, Math.min(at, length - 4));
  return all;
}

describe("output of a task", () => {
  test("goes to a late reader from any byte on, whole, in its order and with its kinds", async () => {
    await using task = await running();
    for (let at = 0; at < 50; at += 1) {
      const stream = at % 10 < 5 ? "stdout" : "stderr";
      task.worker.send({ case: "output", value: { data: Buffer.from(`${at};`), streamType: stream } });
    }
    task.worker.send({ case: "output", value: { text: "größe", streamType: "log" } });
    task.worker.complete();
    await task.worker.rest();
    const whole = `${Array.from({ length: 50 }, (_, at) => `${at};`).join("")}`;
    for (const offset of [0, 1, 17, 100]) {
      await using late = await openTask(server.client, {
        taskId: task.taskId,
        payload: beat,
        offset: BigInt(offset),
      });
      const frames = await late.rest();
      expect(outputOf(frames)).toBe(whole.slice(offset));
      const outputs = frames.flatMap((frame) => (frame.case === "output" ? [frame.value] : []));
      expect(outputs[0]?.offset).toBe(BigInt(offset));
      expect(outputs.at(-1)).toMatchObject({ text: "größe", streamType: "log", attempt: 1 });
      expect(outputs.every(({ missingBytes }) => missingBytes === 0n)).toBe(true);
    }
  });

  test("beyond what is kept goes to those who read it live, and a late reader is told what is missing", async () => {
    await using task = await running();
    await using caller = await openTask(server.client, {
      taskId: task.taskId,
      payload: { case: "input", value: {} },
    });
    const all = bytes(400_000);
    for (let at = 0; at < all.length; at += 40_000)
      task.worker.send({ case: "output", value: { data: all.subarray(at, at + 40_000) } });
    task.worker.complete();
    const live = await caller.rest();
    const got = Buffer.concat(live.flatMap((frame) => (frame.case === "output" ? [frame.value.data] : [])));
    expect(got.equals(all)).toBe(true);
    const { task: row } = await server.client.agent.getTaskStatus({ taskId: task.taskId });
    expect(row).toMatchObject({
      outputBytes: 400_000n,
      outputKeptBytes: 40_000n,
      state: TaskState.COMPLETED,
    });

    await using late = await openTask(server.client, { taskId: task.taskId, payload: beat });
    const frames = await late.rest();
    const kept = Buffer.concat(
      frames.flatMap((frame) => (frame.case === "output" ? [frame.value.data] : [])),
    );
    expect(kept.length).toBe(40_000);
    expect(kept.equals(all.subarray(0, 40_000))).toBe(true);
    const outputs = frames.flatMap((frame) => (frame.case === "output" ? [frame.value] : []));
    expect(outputs.at(-1)).toMatchObject({ missingBytes: 360_000n, offset: 400_000n });
    expect(frames.at(-1)?.case).toBe("complete");
  });

  test("is not held up for long by a caller that does not read", async () => {
    await using task = await running();
    await using asleep = await openTask(server.client, {
      taskId: task.taskId,
      payload: { case: "input", value: {} },
    });
    expect(asleep.headers).toBeDefined();
    const frame = Buffer.alloc(256 * 1024);
    for (let at = 0; at < 40; at += 1) task.worker.send({ case: "output", value: { data: frame } });
    task.worker.complete();
    await task.worker.rest();
    const frames = await asleep.rest();
    expect(frames.at(-1)?.case).toBe("complete");
    const missing = frames.reduce(
      (sum, one) => sum + (one.case === "output" ? Number(one.value.missingBytes) : 0),
      0,
    );
    expect(missing).toBeGreaterThan(0);
    const read = frames.reduce((sum, one) => sum + (one.case === "output" ? one.value.data.length : 0), 0);
    expect(read + missing).toBeLessThanOrEqual(40 * 256 * 1024);
  });

  test("waits once for a caller that does not read, however much there is", async () => {
    // Waiting for each half window of it would take twice as long.
    await using task = await running({ timeoutNs: 8_000_000_000n });
    await using asleep = await openTask(server.client, {
      taskId: task.taskId,
      payload: { case: "input", value: {} },
    });
    const frame = Buffer.alloc(512 * 1024);
    for (let at = 0; at < 80; at += 1) task.worker.send({ case: "output", value: { data: frame } });
    task.worker.complete();
    await task.worker.rest();
    expect((await asleep.rest()).at(-1)?.case).toBe("complete");
  }, 30_000);

  test("of a result is cut where it is too much, and the result says so", async () => {
    await using task = await running();
    const outputText = "x".repeat(5_000_000);
    task.worker.send({ case: "complete", value: { result: { exitCode: 0, outputText } } });
    await task.worker.rest();
    const { task: row } = await server.client.agent.getTaskStatus({ taskId: task.taskId });
    expect(row?.result?.outputText.length).toBe(4 * 1024 * 1024);
    expect(row?.result?.metadata).toEqual({ truncated: "true" });
  });
});
