import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { watch } from "../../src/client/watch.ts";
import { AgentState, AgentType, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { Status } from "../../src/gen/proto/common/v1/common_pb.ts";
import { type Event, EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { openLine, textOf } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";

const env = {
  BAAAHT_AGENTS_GRACE: "400ms",
  BAAAHT_GRPC_KEEPALIVE_INTERVAL: "100ms",
  // Longer than this process may be too busy to answer.
  BAAAHT_GRPC_CONNECTION_TIMEOUT: "3s",
};

setDefaultTimeout(30_000);

let server: TestServer;

beforeEach(async () => {
  server = await startServer({ env });
});

afterEach(async () => {
  expect(server.logs()).not.toContain("defect");
  await server[Symbol.asyncDispose]();
});

async function register(name = "a"): Promise<string> {
  return (await server.client.agent.register({ name, type: AgentType.WORKER })).agentId;
}

/** The first event of this type about the agent behind a cursor, or in the whole log; in it already, or to come. */
async function eventOf(agentId: string, type: EventType, after = ""): Promise<Event> {
  const from = after === "" ? { fromStart: true } : { resumeAfter: after };
  for await (const event of watch(server.client, { ...from, filter: { agentId, types: [type] } }))
    return event;
  throw new Error("the log has ended");
}

/** The id of an agent in a process of its own, when its line is open. */
async function startAgent(agentId?: string) {
  const program = join(import.meta.dir, "../agents/line-process.ts");
  const child = Bun.spawn({
    cmd: [process.execPath, program, server.socketPath, ...(agentId === undefined ? [] : [agentId])],
    stdout: "pipe",
    stderr: "ignore",
  });
  const { value } = await child.stdout.getReader().read();
  return {
    id: new TextDecoder().decode(value).trim(),
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    exited: child.exited,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

test("an agent that is silent is lost, and back with its id when it beats", async () => {
  const agentId = await register();
  const lost = await eventOf(agentId, EventType.AGENT_LOST);
  expect(lost).toMatchObject({
    source: "agents",
    data: { name: "a", reason: expect.stringMatching(/^no sign of life for \d+(\.\d)? s$/) },
    metadata: { actor: "system" },
  });
  const { agent } = await server.client.agent.getAgent({ agentId });
  expect(agent).toMatchObject({ state: AgentState.TERMINATED, status: Status.UNKNOWN });
  expect(agent?.stateReason).toStartWith("lost: no sign of life");
  const refused = await thrown(() =>
    server.client.agent.sendMessage({
      agentId,
      message: { type: 5, payload: { case: "dataMessage", value: {} } },
    }),
  );
  expect(refused).toMatchObject({ kind: "not_found", details: { reason: "AGENT_NOT_FOUND" } });
  await server.client.agent.heartbeat({ agentId });
  const back = await eventOf(agentId, EventType.AGENT_REGISTERED, lost.cursor);
  expect(back).toMatchObject({ source: "agent.grpc", data: { name: "a", returned: "true" } });
});

test("an agent lives for as long as it holds a line, and the line may bring it back", async () => {
  const agentId = await register();
  const lost = await eventOf(agentId, EventType.AGENT_LOST);
  const line = await openLine(server.client, agentId);
  expect(line.headers.get("x-baaaht-heartbeat-interval-ms")).toBe("133"); // a third of the grace
  const back = await eventOf(agentId, EventType.AGENT_REGISTERED, lost.cursor);
  for (let round = 0; round < 3; round += 1) await eventOf(await register(), EventType.AGENT_LOST);
  expect((await server.client.agent.getAgent({ agentId })).agent).toMatchObject({
    state: AgentState.IDLE,
    lineOpen: true,
  });
  await line[Symbol.asyncDispose]();
  await eventOf(agentId, EventType.AGENT_LOST, back.cursor);
});

test("an agent whose process is killed is lost", async () => {
  await using agent = await startAgent();
  agent.kill("SIGKILL");
  await eventOf(agent.id, EventType.AGENT_LOST);
});

test("an agent whose process is stopped is lost although its connection is open", async () => {
  await using agent = await startAgent();
  agent.kill("SIGSTOP");
  await eventOf(agent.id, EventType.AGENT_LOST);
  expect((await server.client.agent.getAgent({ agentId: agent.id })).agent?.lineOpen).toBe(false);
});

test("an agent lives for as long as it holds the stream of a task", async () => {
  const { agent } = server.client;
  const { agentId, registrationToken } = await agent.register({ name: "a", type: AgentType.WORKER });
  // Until the stream is open it lives by this, however long that takes.
  const line = await openLine(server.client, agentId);
  const { taskId } = await agent.executeTask({
    agentId,
    type: TaskType.CUSTOM,
    config: { command: "wait" },
  });
  const stop = new AbortController();
  const worker = agent.streamTask(
    (async function* () {
      yield { taskId, payload: { case: "heartbeat" as const, value: {} } };
      await new Promise((resolve) => stop.signal.addEventListener("abort", resolve));
    })(),
    { metadata: { "x-baaaht-agent-token": registrationToken } },
  );
  await worker.started();
  await line[Symbol.asyncDispose]();
  for (let round = 0; round < 3; round += 1) await eventOf(await register(), EventType.AGENT_LOST);
  expect((await agent.getAgent({ agentId })).agent?.status).toBe(Status.RUNNING);
  stop.abort();
  await worker[Symbol.asyncDispose]();
  await eventOf(agentId, EventType.AGENT_LOST);
});

test("of two processes with one id the newer has the line, and the other is told", async () => {
  await using first = await startAgent();
  await using second = await startAgent(first.id);
  expect(second.id).toBe(first.id);
  expect(await first.exited).not.toBe(0); // it ended by what it was told
  await using line = await openLine(server.client, await register());
  line.say(second.id, "which one?");
  expect(textOf(await line.message())).toBe("which one?");
});

test("agents outlive a server that is killed, and come back with their ids", async () => {
  // Longer than a busy machine needs from here to the kill, and from the server's start to what comes next here.
  const patient = { ...env, BAAAHT_AGENTS_GRACE: "3s" };
  await using first = await startServer({ env: { ...env, BAAAHT_AGENTS_GRACE: "1m" } });
  const registered = (name: string) => first.client.agent.register({ name, type: AgentType.WORKER });
  const { agentId: beats } = await registered("beats");
  const { agentId: holds } = await registered("holds");
  const { agentId: silent } = await registered("silent");
  await using before = await openLine(first.client, holds);
  const cut = thrown(() => before.next());
  await first.kill();
  await cut;
  const { dataDir, socketPath } = first;
  await using again = await startServer({ dataDir, socketPath, env: patient });
  const old = server;
  server = again;
  try {
    const { agents } = await server.client.agent.listAgents({});
    expect(agents.map(({ state }) => state)).toEqual([AgentState.IDLE, AgentState.IDLE, AgentState.IDLE]);
    await server.client.agent.heartbeat({ agentId: beats });
    await using line = await openLine(server.client, holds);
    await eventOf(silent, EventType.AGENT_LOST);
    line.beat();
    expect((await line.next())?.case).toBe("heartbeat");
    const { agent } = await server.client.agent.getAgent({ agentId: holds });
    expect(agent).toMatchObject({ id: holds, name: "holds", state: AgentState.IDLE, lineOpen: true });
  } finally {
    server = old;
  }
});
