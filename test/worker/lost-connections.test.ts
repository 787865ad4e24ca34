import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "../../src/client/client.ts";
import { TaskState, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { engine } from "../engine.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Way, wayTo } from "./cut-connections.ts";
import { startWorkerProcess, type WorkerProcess } from "./worker-process.ts";

const TIMEOUT_MS = 60_000;

let server: TestServer;
let way: Way;
let worker: WorkerProcess;

beforeAll(async () => {
  const { dockerHost, image } = await engine();
  server = await startServer({ dockerHost });
  way = await wayTo(server.socketPath);
  worker = await startWorkerProcess({ socketPath: way.path }, { image });
}, 300_000);

afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await way[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test(
  "agent run goes on with a task over connections that are cut: nothing of its output is missing or comes twice, and its input reaches it",
  async () => {
    await using client = connect({ address: server.socketPath });
    const script =
      'echo begun; read a; echo "$a"; for i in $(seq 2000); do echo "line $i"; done; read b; echo "$b"; exit 7';
    const { taskId } = await client.agent.executeTask({
      type: TaskType.CODE_EXECUTION,
      config: { command: "sh", arguments: ["-c", script] },
    });
    const inputs = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
    async function* frames() {
      yield { taskId, payload: { case: "input" as const, value: {} } };
      for (const { promise } of inputs) {
        const data = new TextEncoder().encode(await promise);
        yield { payload: { case: "input" as const, value: { data } } };
      }
      await new Promise(() => undefined);
    }
    let output = "";
    let exitCode: number | undefined;
    let cuts = 0;
    const cut = async () => {
      const told = worker.words().split("Ready for tasks").length;
      way.cut();
      cuts += 1;
      // It is there again when its line is.
      while (worker.words().split("Ready for tasks").length === told) await worker.more();
    };
    await using answers = client.agent.streamTask(frames());
    for await (const { payload } of answers) {
      if (payload.case === "complete") exitCode = payload.value.result?.exitCode;
      if (payload.case !== "output") continue;
      output += payload.value.text;
      if (cuts === 0 && output === "begun\n") {
        await cut();
        inputs[0]?.resolve("first\n");
      }
      if (cuts === 1 && output.includes("line 1\n")) {
        way.cut(); // in the midst of it
        cuts += 1;
      }
      if (cuts === 2 && output.includes("line 2000\n")) {
        await cut();
        inputs[1]?.resolve("second\n");
      }
    }
    const lines = Array.from({ length: 2000 }, (_, n) => `line ${n + 1}\n`).join("");
    expect(output).toBe(`begun\nfirst\n${lines}second\n`);
    expect([exitCode, cuts]).toEqual([7, 3]);
    const { task } = await client.agent.getTaskStatus({ taskId });
    expect(task).toMatchObject({ state: TaskState.COMPLETED, attempt: 1, agentId: worker.agentId });
  },
  TIMEOUT_MS,
);
