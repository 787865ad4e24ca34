import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type StreamTaskRequestSchema,
  type TaskConfigSchema,
  TaskState,
  TaskType,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { type CompiledServer, startCompiledServer } from "./compiled-server.ts";
import { generateOlderStubs } from "./older-stubs.ts";
import { linesOf, onPath, programs, type Run, succeed } from "./programs.ts";

const examples = join(import.meta.dir, "../../examples");

/** Go compiles gRPC the first time: a minute or two on a slow machine. */
const SET_UP_TIMEOUT_MS = 300_000;
const RUN_TIMEOUT_MS = 60_000;

let server: CompiledServer;
let folder: string;

beforeAll(async () => {
  server = await startCompiledServer();
  folder = mkdtempSync(join(tmpdir(), "baaaht-workers-"));
}, SET_UP_TIMEOUT_MS);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** A worker in another process, killed when it is disposed. */
interface OtherWorker extends AsyncDisposable {
  readonly agentId: string;
  /** Waits for a line that it prints. */
  said(line: string): Promise<void>;
  /** Ends it by SIGTERM, and gives its exit code. */
  stop(): Promise<number>;
}

async function start(command: readonly string[], { cwd, env = {} }: Run): Promise<OtherWorker> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "inherit",
  });
  const lines = linesOf(child.stdout);
  const next = async (wanted: (line: string) => boolean): Promise<string> => {
    for (;;) {
      const { done, value } = await lines.next();
      if (done === true) throw new Error(`${command.join(" ")} has ended, with ${await child.exited}`);
      if (wanted(value)) return value;
    }
  };
  const ready = await next((line) => line.startsWith("ready as "));
  return {
    agentId: ready.slice("ready as ".length),
    said: async (line) => void (await next((one) => one === line)),
    stop: () => {
      child.kill("SIGTERM");
      return child.exited;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

type Frame = MessageInitShape<typeof StreamTaskRequestSchema>;

async function execute(agentId: string, config: MessageInitShape<typeof TaskConfigSchema>): Promise<string> {
  const { taskId } = await server.client.agent.executeTask({ agentId, type: TaskType.CUSTOM, config });
  return taskId;
}

/** What a caller gets who sends these frames, the first of which names the task. */
async function call(frames: readonly Frame[]) {
  async function* all() {
    yield* frames;
    await new Promise(() => undefined);
  }
  let output = "";
  await using answers = server.client.agent.streamTask(all());
  for await (const { payload } of answers) {
    if (payload.case === "output") output += payload.value.text;
    if (payload.case === "complete") return { output, result: payload.value.result };
    if (payload.case === "error") return { output, error: payload.value };
  }
  throw new Error("the task's stream has ended without its end");
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** All that the examples do, whatever their language. */
async function shouts(worker: OtherWorker): Promise<void> {
  const whole = await execute(worker.agentId, { inputData: bytes("hello") });
  const watched = await call([{ taskId: whole, payload: { case: "heartbeat", value: {} } }]);
  expect(watched).toMatchObject({ output: "HELLO", result: { exitCode: 0, metadata: { bytes: "5" } } });

  const pieces = await execute(worker.agentId, {});
  const piecewise = await call([
    { taskId: pieces, payload: { case: "input", value: { data: bytes("one ") } } },
    { payload: { case: "input", value: { data: bytes("two"), end: true } } },
  ]);
  expect(piecewise).toMatchObject({ output: "ONE TWO", result: { metadata: { bytes: "7" } } });

  const given = await execute(worker.agentId, {});
  const up = await call([
    { taskId: given, payload: { case: "input", value: { data: bytes("not") } } },
    { payload: { case: "cancel", value: { reason: "no need" } } },
  ]);
  expect(up.error?.code).toBe("CANCELLED");
  expect((await server.client.agent.getTaskStatus({ taskId: given })).task?.state).toBe(TaskState.CANCELLED);

  expect(await worker.stop()).toBe(0);
  const { agent } = await server.client.agent.getAgent({ agentId: worker.agentId });
  expect(agent?.stateReason).not.toBe("");
}

test(
  "examples/typescript/worker.ts does tasks, gives one up, and signs off",
  async () => {
    const command = [process.execPath, "examples/typescript/worker.ts", server.socketPath];
    await using worker = await start(command, { cwd: join(examples, "..") });
    const whisper = await execute(worker.agentId, { command: "whisper" });
    const failed = await call([{ taskId: whisper, payload: { case: "heartbeat", value: {} } }]);
    expect(failed.error?.code).toBe("TOO_QUIET");
    await shouts(worker);
  },
  RUN_TIMEOUT_MS,
);

test(
  "examples/python/worker.py does tasks, gives one up, and signs off",
  async () => {
    const { python } = programs;
    const cwd = join(examples, "python");
    await succeed(["sh", "generate.sh"], { cwd, env: { PYTHON: python } });
    await using worker = await start([python, "worker.py", "--socket", server.socketPath], { cwd });
    await shouts(worker);
  },
  RUN_TIMEOUT_MS,
);

test(
  "examples/go/worker does tasks, gives one up, and signs off",
  async () => {
    const { go } = programs;
    const cwd = join(examples, "go");
    const env = onPath(go);
    await succeed([go, "generate"], { cwd, env });
    await succeed([go, "vet", "./worker"], { cwd, env });
    const program = join(folder, "worker");
    await succeed([go, "build", "-o", program, "./worker"], { cwd, env });
    await using worker = await start([program, "-socket", server.socketPath], { cwd });
    await shouts(worker);
  },
  SET_UP_TIMEOUT_MS,
);

test(
  "a worker built from older sources does tasks that its heartbeats name",
  async () => {
    await generateOlderStubs(folder);
    const script = join(import.meta.dir, "older_worker.py");
    const env = { PYTHONPATH: folder };
    await using worker = await start([programs.python, script, server.socketPath], { cwd: folder, env });
    const done = await execute(worker.agentId, { inputData: bytes("hello") });
    expect(await call([{ taskId: done, payload: { case: "heartbeat", value: {} } }])).toMatchObject({
      output: "HELLO",
      result: { exitCode: 3, outputText: "done", metadata: { age: "old" } },
    });
    await worker.said(`${done} over`);
    const failing = await execute(worker.agentId, { command: "fail" });
    expect(
      await call([{ taskId: failing, payload: { case: "input", value: { data: bytes("again") } } }]),
    ).toMatchObject({ output: "AGAIN", error: { code: "WORN_OUT", message: "it is too old for that" } });
    const { task } = await server.client.agent.getTaskStatus({ taskId: failing });
    expect(task).toMatchObject({ state: TaskState.FAILED, attempt: 1 });
  },
  RUN_TIMEOUT_MS,
);
