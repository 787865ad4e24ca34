import { afterAll, beforeAll, expect, test } from "bun:test";
import { AgentType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Ended, reaching, typed } from "./command-line.ts";

let server: TestServer;
let ids: { readonly assistant: string; readonly runner: string; readonly gone: string };

beforeAll(async () => {
  server = await startServer();
  const { agent } = server.client;
  const runner = await agent.register({
    name: "runner",
    type: AgentType.WORKER,
    metadata: { hostname: "host-7", labels: { pool: "old" } },
    capabilities: { supportedTasks: ["code-execution"], maxConcurrentTasks: 2 },
  });
  const gone = await agent.register({ name: "assistant", type: AgentType.WORKER });
  await agent.unregister({ agentId: gone.agentId, reason: "its host is gone" });
  const assistant = await agent.register({ name: "assistant", type: AgentType.GATEWAY });
  await agent.heartbeat({ agentId: assistant.agentId, activeTasks: ["t-1"] });
  ids = { assistant: assistant.agentId, runner: runner.agentId, gone: gone.agentId };
}, 30_000);

afterAll(async () => await server[Symbol.asyncDispose]());

async function asked(...args: string[]): Promise<Ended> {
  return await typed(args, { server: reaching(server.socketPath) });
}

async function answer(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await asked(...args);
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: "" });
  return stdout;
}

test("agent list shows who is there and who was, newest first", async () => {
  const [titles, ...rows] = (await answer("agent", "list")).trim().split("\n");
  expect(titles).toMatch(/^ID +STATE +NAME +TYPE +LINE +TASKS +HEARD OF +CAN DO$/);
  expect(rows.map((row) => row.split(/ +/).slice(1, 4))).toEqual([
    ["busy", "assistant", "gateway"],
    ["terminated", "assistant", "worker"],
    ["idle", "runner", "worker"],
  ]);
  expect(rows[2]).toContain("0/2");
});

test("agent list picks by state, type and label", async () => {
  const list = async (...flags: string[]) =>
    (await answer("agent", "list", "-q", ...flags)).trim().split("\n");
  expect(await list("--state", "terminated")).toEqual([ids.gone]);
  expect(await list("--state", "busy")).toEqual([ids.assistant]);
  expect(await list("--type", "worker")).toEqual([ids.gone, ids.runner]);
  expect(await list("-l", "pool=old")).toEqual([ids.runner]);
  expect(await list("--limit", "1")).toEqual([ids.assistant]);
  const wrong = await asked("agent", "list", "--state", "registering");
  expect(wrong.exitCode).toBe(2);
  expect(wrong.stderr).toContain("idle, busy, terminated");
});

test("agent list writes what the API has as JSON", async () => {
  const { agents, cursor, totalCount } = JSON.parse(await answer("agent", "list", "-o", "json"));
  expect(agents.map(({ id }: { id: string }) => id)).toEqual([ids.assistant, ids.gone, ids.runner]);
  expect(agents[1]).toMatchObject({ state: "AGENT_STATE_TERMINATED", stateReason: "its host is gone" });
  expect(totalCount).toBe(3);
  expect(cursor).not.toBe("");
});

test("agent get finds an agent by its name, and of several the one that is live", async () => {
  expect(JSON.parse(await answer("agent", "get", "assistant", "-o", "json")).id).toBe(ids.assistant);
  const shown = await answer("agent", "get", "runner");
  expect(shown).toMatch(/Can do: +code-execution/);
  expect(shown).toMatch(/Host: +host-7/);
  expect(shown).toMatch(/Labels: +pool=old/);
  expect(await answer("agent", "get", ids.gone)).toMatch(/Because: +its host is gone/);
  const none = await asked("agent", "get", "nobody");
  expect(none.stderr).toContain('Cannot find agent "nobody"');
  expect(none.exitCode).not.toBe(0);
});

test("agent unregister signs off each that it can, and says which it can't", async () => {
  const { agentId } = await server.client.agent.register({ name: "one", type: AgentType.TOOL });
  const mixed = await asked("agent", "unregister", "nobody", "one", "--reason", "enough");
  expect(mixed.exitCode).not.toBe(0);
  expect(mixed.stderr).toContain('"nobody"');
  const { agent } = await server.client.agent.getAgent({ agentId });
  expect(agent?.stateReason).toBe("enough");
  expect(await answer("agent", "unregister", agentId)).toContain("it was unregistered already");
});

test("event watch finds an agent by its name", async () => {
  const line = await answer("event", "watch", "--agent", "runner", "--from-start", "--count", "1");
  expect(line).toContain("agent-registered");
  expect(line).toContain(ids.runner);
});

test("status counts the agents", async () => {
  expect(await answer("status")).toMatch(/Agents: +2, 0 of them with a line open/);
});
