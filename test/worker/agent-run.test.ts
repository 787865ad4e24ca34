import { afterAll, beforeAll, expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ExecuteTaskRequestSchema,
  type Task,
  TaskState,
  TaskType,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { SessionState } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engine, type TestEngine } from "../engine.ts";
import { startServer, type TestServer } from "../server.ts";
import { startWorkerProcess } from "./worker-process.ts";

const TIMEOUT_MS = 60_000;

let host: TestEngine;
let server: TestServer;

beforeAll(async () => {
  host = await engine();
  server = await startServer({
    dockerHost: host.dockerHost,
    env: { BAAAHT_AGENTS_GRACE: "2s", BAAAHT_AGENTS_HEARTBEAT_INTERVAL: "500ms" },
  });
}, 300_000);

afterAll(() => server[Symbol.asyncDispose]());

async function execute(
  config: MessageInitShape<typeof ExecuteTaskRequestSchema>["config"],
  more: Omit<MessageInitShape<typeof ExecuteTaskRequestSchema>, "config" | "$typeName"> = {},
): Promise<string> {
  const { taskId } = await server.client.agent.executeTask({
    type: TaskType.CODE_EXECUTION,
    ...more,
    config: config ?? {},
  });
  return taskId;
}

async function get(taskId: string): Promise<Task> {
  const { task } = await server.client.agent.getTaskStatus({ taskId });
  if (task === undefined) throw new Error("the answer has no task in it");
  return task;
}

/** What is told of a task from its beginning, until it has ended or `isEnough`. */
async function watch(taskId: string, isEnough: (output: string) => boolean = () => false) {
  async function* frames() {
    yield { taskId, payload: { case: "heartbeat" as const, value: {} } };
    await new Promise(() => undefined);
  }
  let output = "";
  await using answers = server.client.agent.streamTask(frames());
  for await (const { payload } of answers) {
    if (payload.case === "output") output += payload.value.text;
    if (payload.case === "complete") return { output, exitCode: payload.value.result?.exitCode };
    if (payload.case === "error") return { output, code: payload.value.code };
    if (isEnough(output)) break;
  }
  return { output };
}

/** A shell's command that says that it runs, and then waits. */
const waiting = { command: "sh", arguments: ["-c", "echo begun; exec sleep 300"] };

async function openSessions(): Promise<number> {
  const { totalCount } = await server.client.orchestrator.listSessions({
    filter: { state: SessionState.ACTIVE },
  });
  return totalCount;
}

test(
  "agent run does a program that is sent on the task's stream, before there is a worker",
  async () => {
    const taskId = await execute({});
    async function* frames() {
      yield {
        taskId,
        payload: { case: "input" as const, value: { data: new TextEncoder().encode("echo 'hello'") } },
      };
      await new Promise(() => undefined); // a client that does not close its end
    }
    await using answers = server.client.agent.streamTask(frames());
    await answers.started();
    await using _worker = await startWorkerProcess(server, { image: host.image });
    let text = "";
    let exitCode: number | undefined;
    for await (const { payload } of answers) {
      if (payload.case === "output") text += payload.value.text;
      if (payload.case === "complete") exitCode = payload.value.result?.exitCode;
    }
    expect([text, exitCode]).toEqual(["hello\n", 0]);
    expect((await get(taskId)).result?.outputText).toBe("hello\n");
    expect(await openSessions()).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  "agent run killed by SIGKILL: another worker does its task, and nothing of the first attempt is left",
  async () => {
    const { sessionId } = await server.client.orchestrator.createSession({});
    const first = await startWorkerProcess(server, { image: host.image });
    const taskId = await execute(
      { command: "sh", arguments: ["-c", "echo begun; read line; echo $line"], maxRetries: 1n },
      { sessionId },
    );
    await watch(taskId, (output) => output === "begun\n");
    await using second = await startWorkerProcess(server, { image: host.image });
    first.signal("SIGKILL");
    expect(await first.exited).toBe(-9);
    await watch(taskId, (output) => output === "begun\nbegun\n");
    const { containers } = await server.client.orchestrator.listContainers({ filter: { sessionId } });
    expect(containers).toHaveLength(1);
    async function* frames() {
      const value = { data: new TextEncoder().encode("the end\n"), end: true };
      yield { taskId, payload: { case: "input" as const, value } };
    }
    await Array.fromAsync(server.client.agent.streamTask(frames()));
    const task = await get(taskId);
    expect(task).toMatchObject({ state: TaskState.COMPLETED, agentId: second.agentId, attempt: 2 });
    expect((await watch(taskId)).output).toBe("begun\nbegun\nthe end\n");
    await server.client.orchestrator.closeSession({ sessionId });
  },
  TIMEOUT_MS,
);

test(
  "agent run told to stop lets its task end, takes nothing more, and signs off",
  async () => {
    const worker = await startWorkerProcess(server, { image: host.image });
    const taskId = await execute({
      command: "sh",
      arguments: ["-c", "echo begun; read line; echo $line; exit 6"],
    });
    await watch(taskId, (output) => output === "begun\n");
    worker.signal("SIGTERM");
    await worker.said("Stopping when these tasks have ended");
    async function* frames() {
      const value = { data: new TextEncoder().encode("done\n"), end: true };
      yield { taskId, payload: { case: "input" as const, value } };
    }
    await Array.fromAsync(server.client.agent.streamTask(frames()));
    expect(await worker.exited).toBe(0);
    expect(await watch(taskId)).toEqual({ output: "begun\ndone\n", exitCode: 6 });
    const { agent } = await server.client.agent.getAgent({ agentId: worker.agentId });
    expect(agent?.stateReason).toBe("the worker stops");
    expect(await openSessions()).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  "agent run told to stop twice gives its task back, and leaves nothing behind",
  async () => {
    const worker = await startWorkerProcess(server, { image: host.image });
    const taskId = await execute({ ...waiting, maxRetries: 1n });
    await watch(taskId, (output) => output === "begun\n");
    worker.signal("SIGTERM");
    await worker.said("Stopping when these tasks have ended");
    worker.signal("SIGTERM");
    expect(await worker.exited).toBe(0);
    expect(await openSessions()).toBe(0);
    await using other = await startWorkerProcess(server, { image: host.image });
    await watch(taskId, (output) => output === "begun\nbegun\n");
    expect((await get(taskId)).agentId).toBe(other.agentId);
    await server.client.agent.cancelTask({ taskId });
    await watch(taskId);
  },
  TIMEOUT_MS,
);

test(
  "agent run --until-eof ends with whoever has started it",
  async () => {
    const worker = await startWorkerProcess(server, { image: host.image, flags: ["--until-eof"] });
    worker.leave();
    expect(await worker.exited).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  "agent run ends what is cancelled and what is over its time, and its containers",
  async () => {
    await using _worker = await startWorkerProcess(server, { image: host.image });
    const [cancelled, late] = await Promise.all([
      execute(waiting),
      execute({ command: "sleep", arguments: ["300"], timeoutNs: 1_000_000_000n }),
    ]);
    await watch(cancelled, (output) => output === "begun\n");
    await server.client.agent.cancelTask({ taskId: cancelled, reason: "not wanted" });
    expect(await watch(cancelled)).toMatchObject({ code: "CANCELLED" });
    expect(await watch(late)).toMatchObject({ code: "TIMEOUT" });
    expect((await get(cancelled)).state).toBe(TaskState.CANCELLED);
    expect((await get(late)).state).toBe(TaskState.TIMEOUT);
    const done = await execute({ command: "echo", arguments: ["still there"] });
    expect(await watch(done)).toEqual({ output: "still there\n", exitCode: 0 });
  },
  TIMEOUT_MS,
);

test(
  "agent run comes back to a server that was killed, and does what waits there",
  async () => {
    const { dockerHost } = host;
    await using first = await startServer({ dockerHost });
    await using worker = await startWorkerProcess(first, { image: host.image });
    await first.kill();
    await worker.said("Interrupted");
    await using second = await startServer({
      dockerHost,
      dataDir: first.dataDir,
      socketPath: first.socketPath,
    });
    const { taskId } = await second.client.agent.executeTask({
      type: TaskType.CODE_EXECUTION,
      config: { command: "echo", arguments: ["back"] },
    });
    await worker.said(`Task ${taskId}: completed with exit code 0`);
    const { agents } = await second.client.agent.listAgents({});
    expect(agents.map(({ id }) => id)).toEqual([worker.agentId]);
  },
  TIMEOUT_MS,
);
