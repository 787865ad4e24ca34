import { afterEach, beforeEach, expect, test } from "bun:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { ControlCommand, MessageType, TaskState } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { type RunTask, TaskEnded } from "../../src/worker/running-task.ts";
import { runWorker, type WorkerNews, type WorkerOptions } from "../../src/worker/worker.ts";
import { FakeAgentService } from "./fake-agent-service.ts";

let service: FakeAgentService;
let client: Client;
let cleanup: AsyncDisposableStack;

beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  service = cleanup.use(await FakeAgentService.start());
  client = cleanup.use(connect({ address: service.path, reconnectIntervalMs: 50 }));
});
afterEach(() => cleanup.disposeAsync());

/** A worker that ends with its test. */
function start(run: RunTask, more: Partial<WorkerOptions> = {}) {
  const stop = new AbortController();
  const news: WorkerNews[] = [];
  const ended = runWorker({
    client,
    name: "tester",
    capabilities: { tasks: ["custom"], maxConcurrentTasks: 2 },
    run,
    signal: stop.signal,
    heartbeatMs: 20,
    drainMs: 100,
    onNews: (one) => {
      news.push(one);
      service.change();
    },
    ...more,
  });
  ended.catch(() => undefined);
  cleanup.defer(async () => {
    stop.abort();
    await ended.catch(() => undefined);
  });
  return { stop: () => stop.abort(), ended, news };
}

/** A task that ends when its signal aborts, with why. */
const untilAborted: RunTask = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

test("runWorker() registers with its capabilities, and signs off when it is told to stop", async () => {
  const worker = start(async () => undefined, {
    labels: { place: "here" },
    capabilities: { tasks: ["custom"], tools: ["jq"], maxConcurrentTasks: 3 },
  });
  await service.until(() => worker.news.some(({ what }) => what === "ready"));
  worker.stop();
  await worker.ended;
  const [request] = service.registered;
  expect(request?.name).toBe("tester");
  expect(request?.metadata?.labels).toEqual({ place: "here" });
  expect(request?.capabilities).toMatchObject({
    supportedTasks: ["custom"],
    supportedTools: ["jq"],
    maxConcurrentTasks: 3,
    supportsStreaming: true,
    supportsCancellation: true,
  });
  expect(service.unregistered).toEqual(["agent-1"]);
});

test("runWorker() does a task that is pushed: heartbeat with its id first, then output, then how it ended", async () => {
  start(async ({ task, write, progress }) => {
    await write(`for ${task.name}`);
    await progress(0.5, "half");
    await write("warned", "stderr");
    return { exitCode: 3, metadata: { more: "yes" } };
  });
  await service.give({ id: "t1", name: "somebody" });
  const stream = await service.stream("t1");
  await service.until(() => stream.isHalfClosed);
  expect(stream.frames[0]).toMatchObject({ taskId: "t1", payload: { case: "heartbeat" } });
  expect(stream.frames.slice(1).map(({ taskId, payload }) => [taskId, payload.case])).toEqual([
    ["", "output"],
    ["", "progress"],
    ["", "output"],
    ["", "complete"],
  ]);
  expect(stream.token).toBe("token-1");
  expect(stream.last?.value).toMatchObject({
    taskId: "t1",
    result: { exitCode: 3, outputText: "for somebody", errorText: "warned", metadata: { more: "yes" } },
  });
});

test("runWorker() sends text as text, and other bytes as bytes", async () => {
  start(async ({ write }) => {
    await write("\ufeffhé");
    await write(new Uint8Array([0xff, 0x00]));
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  await service.until(() => stream.isHalfClosed);
  expect(
    stream.frames.flatMap(({ payload }) => (payload.case === "output" ? [payload.value] : [])),
  ).toMatchObject([
    { text: "\ufeffhé", data: new Uint8Array(0) },
    { text: "", data: new Uint8Array([0xff, 0x00]) },
  ]);
});

test("runWorker() takes tasks that a heartbeat names, each once", async () => {
  const begun: string[] = [];
  start(async ({ task }) => {
    begun.push(task.id);
    await untilBeats(3);
    return undefined;
  });
  const untilBeats = (count: number) => service.until(() => service.heartbeats.length >= count);
  service.add({ id: "t1" });
  service.add({ id: "t2" });
  service.pending = ["t1", "t2"];
  await untilBeats(4);
  const streams = await Promise.all([service.stream("t1"), service.stream("t2")]);
  await service.until(() => streams.every(({ last }) => last !== undefined));
  expect(begun.toSorted()).toEqual(["t1", "t2"]);
  expect(service.streams.get("t1")).toHaveLength(1);
});

test("runWorker() says in its heartbeats what it is at", async () => {
  start(untilAborted);
  await service.give({ id: "t1" });
  await service.until(() => service.heartbeats.some(({ activeTasks }) => activeTasks.includes("t1")));
});

test("runWorker() hands input to the task, and slows its senders when it is not read", async () => {
  const read = Promise.withResolvers<void>();
  start(async ({ input, write }) => {
    await read.promise;
    let bytes = 0;
    for await (const data of input) {
      bytes += data.byteLength;
      if (bytes === 40 * 65_536) break;
    }
    await write(`${bytes} bytes`);
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  for (let n = 0; n < 40; n += 1) stream.input("x".repeat(65_536));
  read.resolve();
  await service.until(() => stream.output() === "2621440 bytes");
});

test("runWorker() ends the input of a task behind the last of it", async () => {
  start(async ({ input, write }) => {
    for await (const data of input) await write(data);
    await write(".");
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  stream.input("one ");
  stream.input("two", { end: true });
  await service.until(() => stream.isHalfClosed);
  expect(stream.output()).toBe("one two.");
});

test("runWorker() comes back for the same attempt, and for the input behind what it has", async () => {
  service.add({ id: "t1" });
  service.pending = ["t1"];
  start(async ({ input, write }) => {
    for await (const data of input) await write(data);
    return undefined;
  });
  const first = await service.stream("t1");
  first.input(""); // counts one, as all that says something without a byte
  first.input("12345");
  await service.until(() => first.output() === "12345");
  await service.down();
  await service.up();
  const second = await service.stream("t1", 2);
  expect([first.attempt, second.attempt]).toEqual([undefined, "1"]);
  expect([first.frames[0]?.offset, second.frames[0]?.offset]).toEqual([0n, 6n]);
  second.input("6", { end: true });
  await service.until(() => second.isHalfClosed);
  expect(second.output()).toBe("6");
});

test("runWorker() begins another attempt at a task when it has put away the one before", async () => {
  const begun: string[] = [];
  start(async (running) => {
    begun.push(running.task.name);
    service.change();
    await untilAborted(running).catch(() => undefined);
    begun.push("put away");
    return undefined;
  });
  await service.give({ id: "t1", name: "first" });
  const first = await service.stream("t1");
  await service.until(() => begun.length === 1);
  await service.give({ id: "t1", name: "second" }, "2");
  first.refuse("ABORTED");
  const second = await service.stream("t1", 2);
  await service.until(() => begun.length === 3);
  expect(second.attempt).toBe("2");
  expect(begun).toEqual(["first", "put away", "second"]);
});

test("runWorker() waits with output for a server that does not read", async () => {
  let sent = 0;
  start(async ({ write }) => {
    for (; sent < 4_000; sent += 1) await write(new Uint8Array(16_384));
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  stream.pause();
  let before = -1;
  // It stands still when nothing was taken between two heartbeats.
  while (before !== sent) {
    before = sent;
    const beats = service.heartbeats.length;
    await service.until(() => service.heartbeats.length > beats + 1);
  }
  expect(sent).toBeLessThan(2_000);
  stream.resume();
  await service.until(() => stream.last?.case === "complete");
  expect(stream.output()).toHaveLength(4_000 * 16_384);
});

test("runWorker() tells what a task throws: the reason of a Failure, and the stack of a defect", async () => {
  start(async ({ task }) => {
    if (task.id === "t1") throw new Failure("not_found", "Cannot find the fish", { reason: "NO_FISH" });
    throw new TypeError("fish is undefined");
  });
  await service.give({ id: "t1" });
  await service.give({ id: "t2" });
  const [first, second] = await Promise.all([service.stream("t1"), service.stream("t2")]);
  await service.until(() => first.isHalfClosed && second.isHalfClosed);
  expect(first.last).toMatchObject({
    case: "errorMsg",
    value: { code: "NO_FISH", message: "Cannot find the fish" },
  });
  expect(second.last).toMatchObject({
    case: "errorMsg",
    value: { code: "WORKER_DEFECT", message: "fish is undefined" },
  });
  expect(second.last?.case === "errorMsg" && second.last.value.stackTrace).toContain("TypeError");
});

test("runWorker() ends a task that the server says is cancelled, and says when that is done", async () => {
  let ended: TaskEnded | undefined;
  start(async (running) => {
    await untilAborted(running).catch(() => undefined);
    ended = TaskEnded.of(running.signal);
    await running.write("put away");
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  stream.send({ case: "status", value: { state: TaskState.CANCELLED, message: "not wanted" } });
  await service.until(() => stream.isHalfClosed);
  expect(ended?.how).toBe("cancelled");
  expect(stream.output()).toBe("put away");
  expect(stream.last).toMatchObject({
    case: "errorMsg",
    value: { code: "CANCELLED", message: "not wanted" },
  });
});

test("runWorker() ends a task when a CANCEL comes over its line, and hurries when that says force", async () => {
  const hows: string[] = [];
  start(async (running) => {
    await untilAborted(running).catch(() => undefined);
    const ended = TaskEnded.of(running.signal);
    hows.push(ended?.how ?? "");
    await new Promise((resolve) => ended?.hurried.addEventListener("abort", resolve));
    hows.push(ended?.how ?? "");
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  const cancel = (parameters: Record<string, string>) =>
    service.say({
      type: MessageType.CONTROL,
      payload: {
        case: "controlMessage",
        value: { command: ControlCommand.CANCEL, parameters: { task_id: "t1", ...parameters } },
      },
    });
  await cancel({});
  await service.until(() => hows.length === 1);
  await cancel({ force: "true" });
  await service.until(() => stream.isHalfClosed);
  expect(hows).toEqual(["cancelled", "forced"]);
});

test("runWorker() ends what is not its task any more, and says nothing of it", async () => {
  const worker = start(untilAborted);
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  stream.refuse("ABORTED");
  await service.until(() => worker.news.some(({ what }) => what === "task_over"));
  expect(worker.news.at(-1)).toMatchObject({ report: { how: "ended", by: { how: "lost" } } });
  expect(stream.frames).toHaveLength(1);
});

test("runWorker() keeps a task over a lost connection, and sends what the server had not taken", async () => {
  const goOn = Promise.withResolvers<void>();
  let attempts = 0;
  const worker = start(async ({ write }) => {
    attempts += 1;
    await write("before ");
    await goOn.promise;
    await write("after");
    return undefined;
  });
  await service.give({ id: "t1" });
  const first = await service.stream("t1");
  await service.until(() => first.output() === "before ");
  await service.down();
  await service.until(() => worker.news.some(({ what }) => what === "interrupted"));
  goOn.resolve();
  await service.up();
  const second = await service.stream("t1", 2);
  await service.until(() => second.isHalfClosed);
  expect(second.frames[0]).toMatchObject({ taskId: "t1", payload: { case: "heartbeat" } });
  expect(second.output()).toBe("after");
  expect(second.last?.case).toBe("complete");
  expect(attempts).toBe(1);
  expect(service.registered).toHaveLength(1);
});

test("runWorker() says again how a task ended until the server has heard it", async () => {
  service.endsStreams = false;
  start(async () => ({ exitCode: 7 }));
  await service.give({ id: "t1" });
  const first = await service.stream("t1");
  await service.until(() => first.isHalfClosed);
  await service.down();
  await service.up();
  const second = await service.stream("t1", 2);
  await service.until(() => second.isHalfClosed);
  expect(second.last).toMatchObject({ case: "complete", value: { result: { exitCode: 7 } } });
  second.end();
});

test("runWorker() registers anew when the server does not know it any more, and gives up what it was at", async () => {
  const ends: (string | undefined)[] = [];
  const worker = start(async (running) => {
    await untilAborted(running).catch(() => undefined);
    ends.push(TaskEnded.of(running.signal)?.how);
    return undefined;
  });
  await service.give({ id: "t1" });
  await service.stream("t1");
  service.forgotten.add("agent-1");
  await service.until(() => service.registered.length === 2);
  expect(ends).toEqual(["lost"]);
  await service.until(
    () =>
      worker.news.filter(({ what }) => what === "ready").length === 2 &&
      service.heartbeats.at(-1)?.agentId === "agent-2",
  );
});

test("runWorker() lets what it is at end when it is told to stop, and takes nothing more", async () => {
  const goOn = Promise.withResolvers<void>();
  const worker = start(async () => {
    await goOn.promise;
    return undefined;
  });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  worker.stop();
  await service.until(() => worker.news.some(({ what }) => what === "draining"));
  await service.give({ id: "t2" });
  const beats = service.heartbeats.length;
  await service.until(() => service.heartbeats.length > beats);
  expect(service.unregistered).toEqual([]);
  goOn.resolve();
  await service.until(() => stream.isHalfClosed);
  await worker.ended;
  expect(stream.last?.case).toBe("complete");
  expect(service.streams.has("t2")).toBe(false);
  expect(service.unregistered).toEqual(["agent-1"]);
});

test("runWorker() stops when it gets the order to", async () => {
  const worker = start(async () => undefined);
  await service.say({
    type: MessageType.CONTROL,
    payload: { case: "controlMessage", value: { command: ControlCommand.SHUTDOWN } },
  });
  await worker.ended;
  expect(service.unregistered).toEqual(["agent-1"]);
});

test("runWorker() gives back what does not end in time, without a word of how it ended", async () => {
  const worker = start(untilAborted, { drainMs: 1 });
  await service.give({ id: "t1" });
  const stream = await service.stream("t1");
  worker.stop();
  await service.until(() => stream.isHalfClosed);
  await worker.ended;
  expect(stream.last).toBeUndefined();
  expect(worker.news.at(-1)).toMatchObject({ what: "task_over", report: { by: { how: "left" } } });
  expect(service.unregistered).toEqual(["agent-1"]);
});

test("runWorker() fails at once when there is no server to begin with", async () => {
  await service.down();
  const worker = start(async () => undefined);
  await expect(worker.ended).rejects.toMatchObject({ kind: "unavailable" });
});

test("runWorker() asks the server before it begins a task that it hears of late", async () => {
  const ran: string[] = [];
  const worker = start(async ({ task }) => void ran.push(task.id));
  const request = async (id: string, at: number) => {
    service.add({ id, state: TaskState.CANCELLED });
    await service.say({
      type: MessageType.TASK_REQUEST,
      timestamp: timestampFromMs(at),
      metadata: { headers: { attempt: "1" } },
      payload: { case: "taskMessage", value: { taskId: id, task: { id } } },
    });
    await service.until(() => worker.news.some((one) => one.what === "task_over" && one.taskId === id));
  };
  await request("late", Date.now() - 3_600_000);
  expect(ran).toEqual([]);
  // What the server has said just now is not asked for again.
  await request("fresh", Date.now() + 500);
  expect(ran).toEqual(["fresh"]);
});
