import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { AgentState, AgentType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { Status } from "../../src/gen/proto/common/v1/common_pb.ts";
import { openLine, textOf } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

async function register(name = "worker"): Promise<string> {
  return (await server.client.agent.register({ name, type: AgentType.WORKER })).agentId;
}

describe("Register()", () => {
  test("makes an agent that is live, with a token, and says how often to beat", async () => {
    let trailers: ReadonlyMap<string, string> = new Map();
    const { agent, agentId, registrationToken } = await server.client.agent.register(
      { name: "one", type: AgentType.TOOL, metadata: { labels: { role: "assistant" } } },
      { onTrailers: (received) => (trailers = received) },
    );
    expect(agent).toMatchObject({ id: agentId, name: "one", type: AgentType.TOOL, state: AgentState.IDLE });
    expect(agent).toMatchObject({ status: Status.RUNNING, lineOpen: false, stateReason: "" });
    expect(agent?.metadata?.labels).toEqual({ role: "assistant" });
    expect(registrationToken).toMatch(/^[\w-]{43}$/);
    expect(trailers.get("x-baaaht-heartbeat-interval-ms")).toBe("30000");
    expect(trailers.get("x-baaaht-heartbeat-grace-ms")).toBe("90000");
  });
});

describe("StreamAgent()", () => {
  test("passes messages from agent to agent in their order", async () => {
    const [one, other] = await Promise.all([register(), register()]);
    await using from = await openLine(server.client, one);
    await using to = await openLine(server.client, other);
    for (let index = 0; index < 100; index += 1) from.say(other, String(index));
    for (let index = 0; index < 100; index += 1) {
      const message = await to.message();
      expect(textOf(message)).toBe(String(index));
      expect(message.sourceId).toBe(one);
    }
  });

  test("answers a heartbeat by a heartbeat", async () => {
    await using line = await openLine(server.client, await register());
    line.beat();
    expect((await line.next())?.case).toBe("heartbeat");
  });

  test("ends the line before with ABORTED when the agent opens another one", async () => {
    const id = await register();
    await using before = await openLine(server.client, id);
    const end = thrown(() => before.next());
    await using line = await openLine(server.client, id);
    expect(await end).toMatchObject({ kind: "aborted", details: { reason: "LINE_REPLACED" } });
    line.beat();
    expect((await line.next())?.case).toBe("heartbeat");
  });
});
