import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { status } from "@grpc/grpc-js";
import type { Client } from "../../src/client/client.ts";
import { failureIn } from "../../src/client/status-failure.ts";
import { TaskState, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { openLine } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { openStrands } from "../tasks/open-strands.ts";
import { execute, openTask, outputOf, registerWorker, stateOf } from "../tasks/open-task.ts";

let server: TestServer;
let client: Client;

beforeAll(async () => {
  server = await startServer({
    env: { BAAAHT_TASKS_RECONNECT_GRACE: "200ms" },
  });
  client = server.client;
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  expect(server.logs()).not.toContain('"level":"error"');
  await server?.[Symbol.asyncDispose]();
});

const request = { type: TaskType.CODE_EXECUTION, config: { command: "true" } };

/** A worker with its line and a stream for its tasks. */
async function worker(seats = 1) {
  const { agentId, metadata } = await registerWorker(client, { seats });
  const line = await openLine(client, agentId);
  const strands = await openStrands(client, metadata);
  return {
    agentId,
    metadata,
    line,
    strands,
    [Symbol.asyncDispose]: async () => {
      await strands[Symbol.asyncDispose]();
      await line[Symbol.asyncDispose]();
      await client.agent.unregister({ agentId });
    },
  };
}

/** Text of so many bytes. */
function bytes(count: number): Buffer {
  return Buffer.alloc(count, "0123456789");
}

describe("StreamTasks()", () => {
  test("has a task accepted and done on two strands, and tells each step in the log", async () => {
    await using one = await worker();
    await using caller = await openStrands(client);
    caller.say({
      strand: 7,
      step: { case: "execute", value: { ...request, agentId: one.agentId } },
      correlationId: "mine",
    });
    const { taskId, task } = await caller.nextOf(7, "accepted");
    expect(task).toMatchObject({ id: taskId, state: TaskState.PENDING, agentId: one.agentId });
    const { metadata } = await one.line.message();
    const attempt = Number(metadata?.headers.attempt);
    one.strands.say(
      { strand: 1, step: { case: "open", value: { taskId, attempt } } },
      {
        strand: 1,
        step: { case: "frame", value: { payload: { case: "output", value: { text: "hello" } } } },
      },
      {
        strand: 1,
        step: { case: "frame", value: { payload: { case: "complete", value: { result: { exitCode: 3 } } } } },
      },
      { strand: 1, step: { case: "halfClose", value: {} } },
    );
    expect(await one.strands.next(1)).toMatchObject({
      case: "opened",
      value: { attempt: 1, outputBytes: 0n },
    });
    const ended = await one.strands.nextOf(1, "frame");
    expect(ended.payload).toMatchObject({ case: "status", value: { state: TaskState.COMPLETED } });
    expect(await one.strands.nextOf(1, "end")).toMatchObject({ code: status.OK });

    const frames = [];
    for (let step = await caller.next(7); step.case !== "end"; step = await caller.next(7))
      if (step.case === "frame") frames.push(step.value.payload);
    expect(frames.flatMap((payload) => (payload.case === "output" ? [payload.value.text] : []))).toEqual([
      "hello",
    ]);
    expect(frames.at(-1)).toMatchObject({ case: "complete", value: { taskId, result: { exitCode: 3 } } });

    const log = client.orchestrator.subscribeEvents({ fromStart: true, filter: { taskId } });
    const told: (readonly [EventType, string | undefined])[] = [];
    for await (const { type, data, metadata: about } of log) {
      told.push([type, data.state]);
      if (type === EventType.TASK_CREATED) expect(about?.correlationId).toBe("mine");
      if (type === EventType.TASK_COMPLETED) break;
    }
    expect(told).toEqual([
      [EventType.TASK_CREATED, "queued"],
      [EventType.TASK_UPDATED, "pending"],
      [EventType.TASK_UPDATED, "running"],
      [EventType.TASK_COMPLETED, "completed"],
    ]);
  });

  test("ends one strand with its error and leaves the others alone", async () => {
    await using one = await worker(2);
    const first = await execute(client, { agentId: one.agentId });
    const second = await execute(client, { agentId: one.agentId });
    const open = (strand: number, taskId: string, attempt: number) =>
      one.strands.say({ strand, step: { case: "open", value: { taskId, attempt } } });
    open(1, first, 1);
    open(2, second, 9);
    open(3, "nothing", 0);
    await one.strands.nextOf(1, "opened");
    expect(failureIn(await one.strands.nextOf(2, "end"))).toMatchObject({
      kind: "aborted",
      details: { reason: "ATTEMPT_FENCED" },
    });
    expect(failureIn(await one.strands.nextOf(3, "end"))).toMatchObject({
      kind: "not_found",
      details: { reason: "TASK_NOT_FOUND" },
    });
    // What still comes for one that has ended means nothing.
    one.strands.say({
      strand: 2,
      step: { case: "frame", value: { payload: { case: "complete", value: {} } } },
    });
    one.strands.say({
      strand: 1,
      step: { case: "frame", value: { payload: { case: "complete", value: {} } } },
    });
    expect(await one.strands.nextOf(1, "end")).toMatchObject({ code: status.OK });
    expect(await stateOf(client, first)).toBe(TaskState.COMPLETED);
    expect(await stateOf(client, second)).toBe(TaskState.PENDING);
    // Its number is free again.
    open(2, second, 1);
    expect(await one.strands.nextOf(2, "opened")).toMatchObject({ attempt: 1 });
  });

  test("takes an attempt from a worker that leaves its strand and does not come back", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    one.strands.say({ strand: 1, step: { case: "open", value: { taskId, attempt: 1 } } });
    await one.strands.nextOf(1, "opened");
    await using watcher = await openTask(client, { taskId, payload: { case: "heartbeat", value: {} } });
    one.strands.say({ strand: 1, step: { case: "leave", value: {} } });
    expect(await one.strands.nextOf(1, "end")).toMatchObject({ code: status.CANCELLED });
    expect((await watcher.rest()).at(-1)).toMatchObject({ case: "error", value: { code: "WORKER_LOST" } });
  });

  test("ends a strand of which more is said than it takes, and its worker goes on with a StreamTask", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    const write = (data: Buffer) =>
      one.strands.say({
        strand: 1,
        step: { case: "frame", value: { payload: { case: "output", value: { data } } } },
      });
    one.strands.say({ strand: 1, step: { case: "open", value: { taskId, attempt: 1 } } });
    write(bytes(65_536));
    write(bytes(1));
    expect(failureIn(await one.strands.nextOf(1, "end"))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "STRAND_FULL" },
    });
    const beat = { taskId, payload: { case: "heartbeat", value: {} } } as const;
    const metadata = { ...one.metadata, "x-baaaht-attempt": "1" };
    await using again = await openTask(client, beat, { metadata });
    expect(again.headers.get("x-baaaht-output-bytes")).toBe("65536");
    again.complete();
    await again.rest();
    expect(await stateOf(client, taskId)).toBe(TaskState.COMPLETED);
  });

  test("ends a strand on which more comes out than it gives, and names the byte to go on with", async () => {
    await using one = await worker();
    await using caller = await openStrands(client);
    caller.say({ strand: 1, step: { case: "execute", value: { ...request, agentId: one.agentId } } });
    const { taskId } = await caller.nextOf(1, "accepted");
    const beat = { taskId, payload: { case: "heartbeat", value: {} } } as const;
    await using at = await openTask(client, beat, { metadata: one.metadata });
    for (let piece = 0; piece < 3; piece += 1)
      at.send({ case: "output", value: { data: bytes(30_000), streamType: "stdout" } });
    const failure = failureIn(await caller.nextOf(1, "end"));
    expect(failure).toMatchObject({ kind: "resource_exhausted", details: { reason: "STRAND_FULL" } });
    const offset = BigInt(failure.details.metadata?.offset ?? 0);
    expect(offset).toBe(60_000n);
    at.complete();
    await using rest = await openTask(client, { ...beat, offset });
    expect(outputOf(await rest.rest())).toBe(bytes(30_000).toString());
  });

  test("refuses a number that is in use or is none, and ends OK once all has been said", async () => {
    for (const strands of [[1, 1], [0], [-1]]) {
      await using wrong = await openStrands(client);
      const taskId = await execute(client, { type: TaskType.NETWORK_REQUEST });
      wrong.say(...strands.map((strand) => ({ strand, step: { case: "open" as const, value: { taskId } } })));
      expect(await thrown(() => wrong.over)).toMatchObject({
        kind: "invalid_argument",
        details: { violations: [{ field: "strands.strand" }] },
      });
    }
    await using right = await openStrands(client);
    const taskId = await execute(client, { type: TaskType.NETWORK_REQUEST });
    right.say({ strand: 1, step: { case: "open", value: { taskId } } });
    right.halfClose();
    await right.nextOf(1, "opened");
    await client.agent.cancelTask({ taskId });
    expect(await right.nextOf(1, "end")).toMatchObject({ code: status.OK });
    await right.over;
  });

  test("ends one strand more than may be open, and no other", async () => {
    await using strands = await openStrands(client);
    const taskId = await execute(client, { type: TaskType.NETWORK_REQUEST });
    const other = await execute(client, { type: TaskType.NETWORK_REQUEST });
    // Each task is watched by as many as may watch it.
    const ids = await Promise.all(
      Array.from({ length: 15 }, () => execute(client, { type: TaskType.NETWORK_REQUEST })),
    );
    const all = [taskId, ...ids];
    for (let strand = 1; strand <= 1_024; strand += 1)
      strands.say({ strand, step: { case: "open", value: { taskId: all[strand % all.length] ?? "" } } });
    await strands.nextOf(1_024, "opened");
    strands.say({ strand: 1_025, step: { case: "open", value: { taskId: other } } });
    expect(failureIn(await strands.nextOf(1_025, "end"))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_STRANDS" },
    });
    strands.say({ strand: 1, step: { case: "leave", value: {} } });
    await strands.nextOf(1, "end");
    strands.say({ strand: 1_025, step: { case: "open", value: { taskId: other } } });
    await strands.nextOf(1_025, "opened");
  });

  test("counts all that a frame has for what a strand takes, whatever its kind", async () => {
    await using one = await worker();
    const taskId = await execute(client, { agentId: one.agentId });
    one.strands.say({ strand: 1, step: { case: "open", value: { taskId, attempt: 1 } } });
    const details = { much: "x".repeat(30_000) };
    for (let count = 0; count < 4; count += 1)
      one.strands.say({
        strand: 1,
        step: { case: "frame", value: { payload: { case: "progress", value: { percent: 0.5, details } } } },
      });
    expect(failureIn(await one.strands.nextOf(1, "end"))).toMatchObject({
      details: { reason: "STRAND_FULL" },
    });
  });

  test("refuses a message with more steps than it takes at once", async () => {
    await using strands = await openStrands(client);
    const step = { case: "leave", value: {} } as const;
    strands.say(...Array.from({ length: 1_024 }, () => ({ strand: 1, step })));
    strands.say({ strand: 1, step: { case: "open", value: { taskId: "nothing" } } });
    await strands.nextOf(1, "end");
    strands.say(...Array.from({ length: 1_025 }, () => ({ strand: 1, step })));
    expect(await thrown(() => strands.over)).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "strands", description: expect.stringContaining("1024") }] },
    });
  });

  test("reads no more of a client that does not read, and ends it", async () => {
    await using impatient = await startServer({
      env: { BAAAHT_TASKS_RECONNECT_GRACE: "10ms", BAAAHT_GRPC_STALLED_STREAM_TIMEOUT: "2s" },
    });
    const { agentId, metadata } = await registerWorker(impatient.client);
    await using _line = await openLine(impatient.client, agentId);
    const taskId = await execute(impatient.client, { agentId });
    let asked = 0;
    const asks = async function* () {
      yield { strands: [{ strand: 1, step: { case: "open" as const, value: { taskId, attempt: 1 } } }] };
      for (; asked < 10_000; asked += 1) {
        const open = { case: "open" as const, value: { taskId: "nothing".padEnd(128, "-") } };
        yield {
          strands: Array.from({ length: 64 }, (_, at) => ({ strand: 2 + asked * 64 + at, step: open })),
        };
      }
    };
    await using answers = impatient.client.agent.streamTasks(asks(), { metadata });
    await answers.started();
    // The end of the stream is told to those who read, and to the task whose worker was on it.
    await using watcher = await openTask(impatient.client, {
      taskId,
      payload: { case: "heartbeat", value: {} },
    });
    expect((await watcher.rest()).at(-1)).toMatchObject({ case: "error", value: { code: "WORKER_LOST" } });
    // What has come in before the bound was reached, and what was on its way.
    expect(asked).toBeLessThan(100);
    const end = await thrown(async () => {
      for await (const _ of answers);
    });
    expect(end).toMatchObject({ kind: "resource_exhausted", details: { reason: "CLIENT_STALLED" } });
  }, 30_000);

  test("has nothing left of strands that have ended before their client had", async () => {
    await using short = await startServer();
    const taskId = await execute(short.client, { type: TaskType.NETWORK_REQUEST });
    await short.client.agent.cancelTask({ taskId });
    await using strands = await openStrands(short.client);
    strands.say({ strand: 1, step: { case: "open", value: { taskId } } });
    await strands.nextOf(1, "end");
    expect(await short.stop()).toBe(0);
    expect(short.logs()).not.toContain("did not end when it was told to");
  });

  test("keeps what its callers and workers were told over a kill of the server", async () => {
    await using fragile = await startServer();
    const { agentId, metadata } = await registerWorker(fragile.client);
    await using line = await openLine(fragile.client, agentId);
    await using caller = await openStrands(fragile.client);
    await using strands = await openStrands(fragile.client, metadata);
    caller.say({ strand: 1, step: { case: "execute", value: { ...request, agentId } } });
    const { taskId } = await caller.nextOf(1, "accepted");
    await line.message();
    strands.say(
      { strand: 1, step: { case: "open", value: { taskId, attempt: 1 } } },
      {
        strand: 1,
        step: { case: "frame", value: { payload: { case: "complete", value: { result: { exitCode: 5 } } } } },
      },
    );
    await strands.nextOf(1, "end");
    await fragile.kill();
    expect(await thrown(() => caller.over)).toMatchObject({ kind: "unavailable" });
    await using again = await startServer({ dataDir: fragile.dataDir, socketPath: fragile.socketPath });
    const { task } = await again.client.agent.getTaskStatus({ taskId });
    expect(task).toMatchObject({ state: TaskState.COMPLETED, result: { exitCode: 5 } });
  });
});

describe("TASK_REQUEST", () => {
  test("has the task, unless it was given input or is large", async () => {
    await using one = await worker(3);
    const heard = async (config: { readonly command: string; readonly inputData?: Uint8Array }) => {
      const taskId = await execute(client, { agentId: one.agentId, config });
      const { payload } = await one.line.message();
      if (payload.case !== "taskMessage") throw new Error("this is no word of a task");
      return { taskId, task: payload.value.task };
    };
    const small = await heard({ command: "small" });
    const { task } = await client.agent.getTaskStatus({ taskId: small.taskId });
    expect(small.task).toEqual(task);
    expect(await heard({ command: "fed", inputData: bytes(1) })).toMatchObject({ task: undefined });
    expect(await heard({ command: "x".repeat(16_384) })).toMatchObject({ task: undefined });
  });
});
