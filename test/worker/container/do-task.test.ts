import { afterAll, beforeAll, expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Failure } from "../../../src/failure.ts";
import { type TaskConfigSchema, TaskType } from "../../../src/gen/proto/agent/v1/agent_pb.ts";
import {
  ContainerState,
  PullPolicy,
  SessionState,
} from "../../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { inContainers } from "../../../src/worker/container/do-task.ts";
import { DEFAULT_TABLE, tableWith } from "../../../src/worker/container/table.ts";
import { type RunTask, TaskEnded } from "../../../src/worker/running-task.ts";
import { engine } from "../../engine.ts";
import { startServer, type TestServer } from "../../server.ts";
import { runningTask, type TestTask } from "./running.ts";

let server: TestServer;
let run: RunTask;
let image: string;

beforeAll(async () => {
  const { dockerHost, image: busybox } = await engine();
  image = busybox;
  server = await startServer({ dockerHost });
  run = inContainers({
    client: server.client,
    table: tableWith(DEFAULT_TABLE, {
      languages: { sh: busybox, python: `${busybox} sh` },
      tools: { wc: busybox, shout: `${busybox} tr a-z A-Z` },
      image: busybox,
    }),
    pull: PullPolicy.NEVER,
    allowNetwork: false,
  });
}, 300_000);

afterAll(() => server[Symbol.asyncDispose]());

type Config = MessageInitShape<typeof TaskConfigSchema>;

const bytes = (text: string) => new TextEncoder().encode(text);

/** A task without a caller: nobody sends it input. */
function task(type: TaskType, config: Config, sessionId = ""): TestTask {
  const made = runningTask({ type, config, sessionId });
  made.input.end();
  return made;
}

function failing(running: TestTask, how = run): Promise<Failure> {
  return how(running).then(
    () => Promise.reject(new Error("it was done")),
    (error) => error,
  );
}

async function freshSession(): Promise<string> {
  const { sessionId } = await server.client.orchestrator.createSession({
    config: { policy: { allowVolumeMount: true } },
  });
  return sessionId;
}

async function containersOf(sessionId: string) {
  const { containers } = await server.client.orchestrator.listContainers({ filter: { sessionId } });
  return containers;
}

test("inContainers() runs a command with its environment, folder, outputs and true exit code", async () => {
  const running = task(TaskType.CODE_EXECUTION, {
    command: "sh",
    arguments: ["-c", 'echo "$GREETING from $PWD as $TASK_ID"; echo careful >&2; exit 7'],
    environment: { GREETING: "hello" },
    workingDirectory: "/some/where",
  });
  expect(await run(running)).toEqual({ exitCode: 7 });
  expect(running.output()).toBe(`hello from /some/where as ${running.task.id}\n`);
  expect(running.output("stderr")).toBe("careful\n");
});

test("inContainers() gives input_data to stdin, and as a file where that was asked for", async () => {
  const inputData = bytes("one\ntwo\n");
  const stdin = task(TaskType.CODE_EXECUTION, { command: "wc", arguments: ["-l"], inputData });
  await run(stdin);
  expect(stdin.output().trim()).toBe("2");
  const file = task(TaskType.CODE_EXECUTION, {
    command: "cat",
    arguments: ["/data/in.txt"],
    inputData,
    parameters: { input: "file", input_path: "/data/in.txt" },
  });
  await run(file);
  expect(file.output()).toBe("one\ntwo\n");
});

test("inContainers() runs a program that its caller sends as its first input, and gives it what follows", async () => {
  const running = runningTask({ type: TaskType.CODE_EXECUTION, config: {} });
  const ended = run(running);
  await running.input.push(bytes("read name; echo hello $name"));
  await running.input.push(bytes("world\n"));
  expect(await ended).toEqual({ exitCode: 0 });
  expect(running.output()).toBe("hello world\n");
});

test("inContainers() streams output while the command runs, and input to it", async () => {
  const running = runningTask({
    type: TaskType.CODE_EXECUTION,
    config: { command: "cat", arguments: ["-"] },
  });
  const ended = run(running);
  await running.input.push(bytes("one\n"));
  await running.written("one\n");
  await running.input.push(bytes("two\n"));
  await running.written("two\n");
  running.input.end();
  expect(await ended).toEqual({ exitCode: 0 });
});

test("inContainers() gives a task without a session one of its own, and closes that", async () => {
  const running = task(TaskType.CODE_EXECUTION, { command: "true" });
  await run(running);
  const labels = { task_id: running.task.id };
  const { sessions } = await server.client.orchestrator.listSessions({ filter: { labels } });
  expect(sessions.map(({ state, closeReason }) => [state, closeReason])).toEqual([
    [SessionState.CLOSED, "its task is over"],
  ]);
  expect(sessions[0]?.containerIds).toEqual([]);
});

test("inContainers() uses a task's session, and removes its container and nothing else", async () => {
  const sessionId = await freshSession();
  const { containerId } = await server.client.orchestrator.createContainer({
    sessionId,
    config: { image, command: ["sleep", "300"] },
  });
  await run(task(TaskType.CODE_EXECUTION, { command: "true" }, sessionId));
  expect((await containersOf(sessionId)).map(({ id }) => id)).toEqual([containerId]);
  await server.client.orchestrator.closeSession({ sessionId });
});

test("inContainers() removes what an attempt before has left in the task's session", async () => {
  const sessionId = await freshSession();
  const running = task(TaskType.CODE_EXECUTION, { command: "true" }, sessionId);
  await server.client.orchestrator.createContainer({
    sessionId,
    config: { image, command: ["sleep", "300"], labels: { task_id: running.task.id } },
  });
  await run(running);
  expect(await containersOf(sessionId)).toEqual([]);
  await server.client.orchestrator.closeSession({ sessionId });
});

test("inContainers() names an image that can't be had", async () => {
  const failure = await failing(
    task(TaskType.CODE_EXECUTION, { command: "true", parameters: { image: "nowhere/nothing:9" } }),
  );
  expect(failure.kind).toBe("not_found");
  expect(failure.message).toContain('"nowhere/nothing:9"');
});

test("inContainers() ends a task whose max_execution_time_ns are over", async () => {
  const failure = await failing(
    task(TaskType.CODE_EXECUTION, {
      command: "sleep",
      arguments: ["300"],
      constraints: { maxExecutionTimeNs: 200_000_000n },
    }),
  );
  expect(failure.details.reason).toBe("EXECUTION_TIME_EXCEEDED");
});

test("inContainers() ends a process that has used up max_cpu_ns", async () => {
  const failure = await failing(
    task(TaskType.CODE_EXECUTION, {
      command: "sh",
      arguments: ["-c", "while :; do :; done"],
      constraints: { maxCpuNs: 1n },
    }),
  );
  expect(failure.details.reason).toBe("CPU_TIME_EXCEEDED");
});

test("inContainers() gives a container max_memory_bytes, and says that a task wanted more", async () => {
  const running = task(TaskType.CODE_EXECUTION, {
    command: "tail",
    arguments: ["/dev/zero"],
    constraints: { maxMemoryBytes: 16n * 1024n * 1024n },
  });
  expect(await run(running)).toEqual({ exitCode: 137, metadata: { oom_killed: "true" } });
});

test("inContainers() does nothing that allowed_operations and denied_operations forbid", async () => {
  const denied = await failing(
    task(TaskType.CODE_EXECUTION, { command: "true", constraints: { deniedOperations: ["execute:true"] } }),
  );
  expect(denied.details.reason).toBe("OPERATION_DENIED");
  const notAllowed = await failing(
    task(TaskType.FILE_OPERATION, {
      command: "delete",
      arguments: ["/workspace/x"],
      parameters: { volume: "files" },
      constraints: { allowedOperations: ["read", "list"] },
    }),
  );
  expect(notAllowed.message).toContain('"delete"');
});

test("inContainers() lets a cancelled command end in order, and removes its container", async () => {
  const sessionId = await freshSession();
  const running = task(
    TaskType.CODE_EXECUTION,
    {
      command: "sh",
      arguments: ["-c", 'trap "echo put away; exit 0" TERM; echo ready; while :; do sleep 0.1; done'],
    },
    sessionId,
  );
  const ended = failing(running);
  await running.written("ready");
  running.end(new TaskEnded("cancelled", "not wanted"));
  expect((await ended).kind).toBe("cancelled");
  expect(running.output()).toBe("ready\nput away\n");
  expect(await containersOf(sessionId)).toEqual([]);
  await server.client.orchestrator.closeSession({ sessionId });
});

test("inContainers() kills a command that does not heed its cancellation", async () => {
  const running = task(TaskType.CODE_EXECUTION, {
    command: "sh",
    arguments: ["-c", 'trap "" TERM; echo ready; while :; do sleep 0.1; done'],
  });
  const ended = failing(running);
  await running.written("ready");
  running.end(new TaskEnded("cancelled", "not wanted"));
  expect((await ended).kind).toBe("cancelled");
}, 20_000);

test("inContainers() does file operations in a volume of the session", async () => {
  const sessionId = await freshSession();
  const file = async (command: string, words: readonly string[], inputData = bytes("")) => {
    const running = task(
      TaskType.FILE_OPERATION,
      { command, arguments: [...words], inputData, parameters: { volume: "files" } },
      sessionId,
    );
    const outcome = await run(running);
    expect(running.output("stderr")).toBe("");
    expect(outcome).toEqual({ exitCode: 0 });
    return running.output();
  };
  await file("write", ["/workspace/a/b.txt"], bytes("one\n"));
  await file("append", ["/workspace/a/b.txt"], bytes("two\n"));
  await file("mkdir", ["/workspace/c"]);
  await file("copy", ["/workspace/a/b.txt", "/workspace/c/b.txt"]);
  await file("move", ["/workspace/c/b.txt", "/workspace/c/d.txt"]);
  await file("delete", ["/workspace/a"]);
  expect(await file("read", ["/workspace/c/d.txt"])).toBe("one\ntwo\n");
  expect(await file("list", ["/workspace"])).toMatch(/ c$/m);
  expect(await file("list", ["/workspace"])).not.toMatch(/ a$/m);
  await server.client.orchestrator.closeSession({ sessionId });
}, 60_000);

test("inContainers() says that a file would be kept nowhere", async () => {
  const failure = await failing(
    task(TaskType.FILE_OPERATION, { command: "write", arguments: ["/tmp/x"], inputData: bytes("x") }),
  );
  expect(failure.kind).toBe("invalid_argument");
  expect(failure.message).toContain("parameters.volume");
});

test("inContainers() works on containers of the session: create, exec, stat, logs, list, stop, remove", async () => {
  const sessionId = await freshSession();
  const operation = async (type: TaskType, config: Config) => {
    const running = task(type, config, sessionId);
    const outcome = await run(running);
    return { outcome, output: running.output() };
  };
  const create = await operation(TaskType.CONTAINER_OPERATION, {
    command: "create",
    arguments: ["sh", "-c", "echo begun; exec sleep 300"],
    parameters: { image },
  });
  const { id: container } = JSON.parse(create.output);
  const exec = await operation(TaskType.CONTAINER_OPERATION, {
    command: "exec",
    arguments: [container, "sh", "-c", "echo made > /tmp/it; exit 4"],
  });
  expect(exec.outcome).toEqual({ exitCode: 4 });
  const stat = await operation(TaskType.FILE_OPERATION, {
    command: "stat",
    arguments: ["/tmp/it"],
    parameters: { container },
  });
  expect(JSON.parse(stat.output)).toMatchObject({ name: "it", kind: "PATH_KIND_FILE", size: "5" });
  const read = await operation(TaskType.FILE_OPERATION, {
    command: "read",
    arguments: ["/tmp/it"],
    parameters: { container },
  });
  expect(read.output).toBe("made\n");
  const one = { parameters: { container } };
  expect((await operation(TaskType.CONTAINER_OPERATION, { command: "logs", ...one })).output).toBe("begun\n");
  const list = await operation(TaskType.CONTAINER_OPERATION, { command: "list" });
  expect(JSON.parse(list.output).containers).toMatchObject([{ id: container }]);
  await operation(TaskType.CONTAINER_OPERATION, { command: "pause", ...one });
  await operation(TaskType.CONTAINER_OPERATION, { command: "resume", ...one });
  const { container: running } = await server.client.orchestrator.getContainer({ containerId: container });
  expect(running?.state).toBe(ContainerState.RUNNING);
  await operation(TaskType.CONTAINER_OPERATION, { command: "remove", ...one });
  expect(await containersOf(sessionId)).toEqual([]);
  await server.client.orchestrator.closeSession({ sessionId });
}, 60_000);

test("inContainers() does data processing and tools with the input as data", async () => {
  const data = task(TaskType.DATA_PROCESSING, { command: "sort", inputData: bytes("b\na\n") });
  await run(data);
  expect(data.output()).toBe("a\nb\n");
  const script = task(TaskType.DATA_PROCESSING, {
    parameters: { code: "tr a-z A-Z | rev" },
    inputData: bytes("abc\n"),
  });
  await run(script);
  expect(script.output()).toBe("CBA\n");
  const tool = task(TaskType.TOOL_EXECUTION, { parameters: { tool: "shout" }, inputData: bytes("hey") });
  await run(tool);
  expect(tool.output()).toBe("HEY");
  const none = await failing(task(TaskType.TOOL_EXECUTION, { command: "juggle" }));
  expect(none.details.reason).toBe("TOOL_NOT_FOUND");
});

test("inContainers() passes on much output, whole", async () => {
  const running = task(TaskType.CODE_EXECUTION, {
    command: "sh",
    arguments: ["-c", "yes 0123456789abcdef | head -c 20000000"],
  });
  await run(running);
  expect(running.output()).toHaveLength(20_000_000);
  expect(Bun.hash(running.output())).toBe(
    Bun.hash("0123456789abcdef\n".repeat(1_176_471).slice(0, 20_000_000)),
  );
});

test("inContainers() says that it can't tell how a task ended that a killed server ran", async () => {
  const { dockerHost } = await engine();
  await using first = await startServer({ dockerHost });
  const client = first.connect({ reconnectIntervalMs: 100 });
  const alone = inContainers({
    client,
    table: tableWith(DEFAULT_TABLE, { languages: { sh: image }, tools: {}, image }),
    pull: PullPolicy.NEVER,
    allowNetwork: false,
  });
  const running = task(TaskType.CODE_EXECUTION, {
    command: "sh",
    arguments: ["-c", "echo ready; sleep 300"],
  });
  const ended = failing(running, alone);
  await running.written("ready");
  await first.kill();
  await using second = await startServer({
    dockerHost,
    dataDir: first.dataDir,
    socketPath: first.socketPath,
  });
  expect((await ended).details.reason).toBe("ATTEMPT_LOST");
  const { containers } = await second.client.orchestrator.listContainers({});
  expect(containers).toEqual([]);
}, 60_000);
