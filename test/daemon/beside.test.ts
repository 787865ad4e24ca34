import { expect, test } from "bun:test";
import { TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engine } from "../engine.ts";
import { startServer } from "../server.ts";

const TIMEOUT_MS = 60_000;

/** The process that the server says it has started. */
function pidIn(logs: string): number {
  const pids = [...logs.matchAll(/"a program beside the server is started".*?"pid":(\d+)/g)];
  return Number(pids.at(-1)?.[1]);
}

/** Resolves when the process is gone: it writes to the server's log, whose pipe it holds, or to nobody. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    // A process that is not one's own child gives no word of its end.
    await Bun.sleep(10);
  }
}

test(
  "serve --assistant runs an assistant beside the server, starts it again, and ends it with the server",
  async () => {
    await using server = await startServer({ flags: ["--assistant"] });
    await server.logged("assistant: ready as agent");
    const first = pidIn(server.logs());
    const { agents } = await server.client.agent.listAgents({});
    expect(agents.map(({ name, metadata }) => [name, metadata?.labels])).toEqual([
      ["assistant", { role: "assistant" }],
    ]);
    await using events = server.client.orchestrator.subscribeEvents({
      filter: { types: [EventType.AGENT_REGISTERED] },
    });
    await events.started();
    process.kill(first, "SIGKILL");
    for await (const _ of events) break; // the next one has come
    await server.logged('"how":"signal SIGKILL"');
    const second = pidIn(server.logs());
    expect(second).not.toBe(first);
    expect(await server.stop()).toBe(0);
    await gone(second);
  },
  TIMEOUT_MS,
);

test(
  "serve --assistant leaves no assistant behind when the server is killed",
  async () => {
    await using server = await startServer({ flags: ["--assistant"] });
    await server.logged("assistant: ready as agent");
    const pid = pidIn(server.logs());
    await server.kill();
    await gone(pid);
  },
  TIMEOUT_MS,
);

test(
  "serve --assistant says what is wrong with the assistant's configuration, and serves",
  async () => {
    const env = { BAAAHT_ASSISTANT_MODEL: "small", BAAAHT_ASSISTANT_BASE_URL: "nowhere" };
    await using server = await startServer({ flags: ["--assistant"], env });
    await server.logged("a program beside the server can't run, and is not started again");
    expect(server.logs()).toContain(
      'assistant.base-url is \\"nowhere\\", which is no http:// or https:// URL',
    );
    await server.client.orchestrator.listSessions({});
  },
  TIMEOUT_MS,
);

test(
  "serve --worker does a task on a host with nothing else, and lets a task end that is at work",
  async () => {
    const { dockerHost, image } = await engine();
    await using server = await startServer({
      dockerHost,
      flags: ["--worker"],
      env: { BAAAHT_WORKER_LANGUAGES: `python=${image} sh`, BAAAHT_WORKER_IMAGE: image },
    });
    const { taskId } = await server.client.agent.executeTask({ type: TaskType.CODE_EXECUTION, config: {} });
    const send = Promise.withResolvers<void>();
    async function* frames() {
      const data = new TextEncoder().encode("echo hello; read line; echo $line; exit 3");
      yield { taskId, payload: { case: "input" as const, value: { data } } };
      await send.promise;
      yield { payload: { case: "input" as const, value: { data: new TextEncoder().encode("bye\n") } } };
    }
    const seen: string[] = [];
    let stopped: Promise<number> | undefined;
    await using answers = server.client.agent.streamTask(frames());
    for await (const { payload } of answers) {
      if (payload.case === "output") seen.push(payload.value.text);
      if (payload.case === "complete") seen.push(String(payload.value.result?.exitCode));
      if (payload.case !== "output" || stopped !== undefined) continue;
      stopped = server.stop();
      await server.logged("worker: Stopping when these tasks have ended");
      send.resolve();
    }
    expect(seen).toEqual(["hello\n", "bye\n", "3"]);
    expect(await stopped).toBe(0);
  },
  TIMEOUT_MS,
);
