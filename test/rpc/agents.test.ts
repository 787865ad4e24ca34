import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { watch } from "../../src/client/watch.ts";
import {
  type AgentMessageSchema,
  AgentState,
  AgentType,
  ControlCommand,
  MessageType,
  type RegisterRequestSchema,
  TaskState,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { Status } from "../../src/gen/proto/common/v1/common_pb.ts";
import { type Event, EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { openLine, textOf } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";

const tokenHeader = "x-baaaht-agent-token";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

async function register(more: MessageInitShape<typeof RegisterRequestSchema> = {}): Promise<string> {
  return (await server.client.agent.register({ name: "worker", type: AgentType.WORKER, ...more })).agentId;
}

/** The log so far, of one agent. */
async function eventsOf(agentId: string): Promise<readonly Event[]> {
  const marker = await server.client.agent.listAgents({ pageSize: 1 });
  const events: Event[] = [];
  const all = server.client.orchestrator.subscribeEvents({
    fromStart: true,
    filter: { agentId },
    bookmarkIntervalNs: 100_000_000n,
  });
  for await (const event of all) {
    if (event.type === EventType.BOOKMARK) break;
    events.push(event);
  }
  expect(marker.cursor).not.toBe("");
  return events;
}

describe("Register()", () => {
  test("makes an agent that is live, with a token, and says how often to beat", async () => {
    let trailers: ReadonlyMap<string, string> = new Map();
    const { agent, agentId, registrationToken } = await server.client.agent.register(
      { name: "one", type: AgentType.TOOL, metadata: { labels: { role: "assistant" }, pid: "7" } },
      { onTrailers: (received) => (trailers = received) },
    );
    expect(agent).toMatchObject({ id: agentId, name: "one", type: AgentType.TOOL, state: AgentState.IDLE });
    expect(agent).toMatchObject({ status: Status.RUNNING, lineOpen: false, stateReason: "" });
    expect(agent?.metadata?.labels).toEqual({ role: "assistant" });
    expect(registrationToken).toMatch(/^[\w-]{43}$/);
    expect(trailers.get("x-baaaht-heartbeat-interval-ms")).toBe("30000");
    expect(trailers.get("x-baaaht-heartbeat-grace-ms")).toBe("90000");
    const [event] = await eventsOf(agentId);
    expect(event).toMatchObject({
      type: EventType.AGENT_REGISTERED,
      source: "agent.grpc",
      data: { name: "one", type: "tool", pid: "7" },
      metadata: { agentId, labels: { role: "assistant" } },
    });
  });

  test("gives agents of one name ids of their own", async () => {
    const ids = await Promise.all([register(), register(), register()]);
    expect(new Set(ids).size).toBe(3);
  });
});

describe("Heartbeat()", () => {
  test("keeps what the agent says, and tells how often to beat", async () => {
    const agentId = await register();
    let trailers: ReadonlyMap<string, string> = new Map();
    const { timestamp, pendingTasks } = await server.client.agent.heartbeat(
      { agentId, activeTasks: ["t1", "t2", "t1"], resources: { cpuPercent: 12.5, memoryUsage: 1024n } },
      { onTrailers: (received) => (trailers = received) },
    );
    expect(timestamp).toBeDefined();
    expect(pendingTasks).toEqual([]);
    expect(trailers.get("x-baaaht-heartbeat-grace-ms")).toBe("90000");
    const { agent } = await server.client.agent.getAgent({ agentId });
    expect(agent).toMatchObject({ state: AgentState.BUSY, activeTasks: ["t1", "t2"] });
    expect(agent?.resources).toMatchObject({ cpuPercent: 12.5, memoryUsage: 1024n });
    await server.client.agent.heartbeat({ agentId });
    const later = await server.client.agent.getAgent({ agentId });
    expect(later.agent).toMatchObject({ state: AgentState.IDLE, activeTasks: [] });
    expect(later.agent?.resources).toBeUndefined();
  });
});

describe("Unregister()", () => {
  test("ends the agent and its line, and tells it to register again", async () => {
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    const end = thrown(() => line.next());
    expect(await server.client.agent.unregister({ agentId, reason: "enough" })).toMatchObject({
      success: true,
    });
    expect(await end).toMatchObject({ kind: "not_found", details: { reason: "AGENT_UNREGISTERED" } });
    const { agent } = await server.client.agent.getAgent({ agentId });
    expect(agent).toMatchObject({
      state: AgentState.TERMINATED,
      status: Status.TERMINATED,
      stateReason: "enough",
      lineOpen: false,
    });
    expect(agent?.endedAt).toBeDefined();
    const beat = await thrown(() => server.client.agent.heartbeat({ agentId }));
    expect(beat).toMatchObject({ kind: "not_found", details: { reason: "AGENT_UNREGISTERED" } });
    const again = await thrown(() => openLine(server.client, agentId));
    expect(again).toMatchObject({ kind: "not_found", details: { reason: "AGENT_UNREGISTERED" } });
  });

  test("is OK twice, and tells of it once", async () => {
    const agentId = await register();
    const answers = await Promise.all([1, 2, 3].map(() => server.client.agent.unregister({ agentId })));
    expect(answers.map(({ success }) => success)).toEqual([true, true, true]);
    expect((await eventsOf(agentId)).map(({ type }) => type)).toEqual([
      EventType.AGENT_REGISTERED,
      EventType.AGENT_UNREGISTERED,
    ]);
  });
});

describe("a registration token", () => {
  test("that is right is accepted, and none is needed", async () => {
    const { agentId, registrationToken } = await server.client.agent.register({
      name: "t",
      type: AgentType.WORKER,
    });
    const metadata = { [tokenHeader]: registrationToken };
    await server.client.agent.heartbeat({ agentId }, { metadata });
    await server.client.agent.heartbeat({ agentId });
    await using line = await openLine(server.client, agentId, { metadata });
    line.beat();
    expect((await line.next())?.case).toBe("heartbeat");
    await server.client.agent.unregister({ agentId }, { metadata });
  });

  test("that is another's is UNAUTHENTICATED in every call of the agent, and changes nothing", async () => {
    const { registrationToken } = await server.client.agent.register({ name: "o", type: AgentType.WORKER });
    const agentId = await register();
    const metadata = { [tokenHeader]: registrationToken };
    const message = { type: MessageType.DATA, sourceId: agentId, payload: dataOf("x") };
    const { agent } = server.client;
    const calls = [
      () => agent.heartbeat({ agentId }, { metadata }),
      () => agent.unregister({ agentId }, { metadata }),
      () => openLine(server.client, agentId, { metadata }),
      () => agent.sendMessage({ agentId, message }, { metadata }),
      () => agent.heartbeat({ agentId }, { metadata: { [tokenHeader]: "" } }),
    ];
    for (const call of calls) {
      expect(await thrown(call)).toMatchObject({
        kind: "unauthenticated",
        details: { reason: "AGENT_TOKEN_WRONG" },
      });
    }
    expect((await agent.getAgent({ agentId })).agent?.state).toBe(AgentState.IDLE);
  });
});

describe("ListAgents()", () => {
  test("picks by type, state and labels, and pages through them", async () => {
    const pool = crypto.randomUUID();
    const metadata = { labels: { pool } };
    const ids = [];
    for (let index = 0; index < 5; index += 1) ids.push(await register({ metadata }));
    const [first = "", second = ""] = ids;
    await server.client.agent.heartbeat({ agentId: first, activeTasks: ["t"] });
    await server.client.agent.unregister({ agentId: second });
    await register({ metadata, type: AgentType.MONITOR });
    const list = async (request: object) => {
      const { agents, totalCount } = await server.client.agent.listAgents({ labels: { pool }, ...request });
      expect(agents.length).toBe(totalCount);
      return agents.map(({ id }) => id);
    };
    expect(await list({ type: AgentType.WORKER })).toEqual(ids.toReversed());
    expect(await list({ state: AgentState.BUSY })).toEqual([first]);
    expect(await list({ state: AgentState.TERMINATED })).toEqual([second]);
    const idle = ids.slice(2).toReversed();
    expect(await list({ state: AgentState.IDLE, type: AgentType.WORKER })).toEqual(idle);
    for (const state of [AgentState.UNSPECIFIED, AgentState.IDLE]) {
      const all = await list({ state });
      const paged: string[] = [];
      let pageToken = "";
      do {
        const page = await server.client.agent.listAgents({
          labels: { pool },
          state,
          pageSize: 2,
          pageToken,
        });
        expect(page.totalCount).toBe(all.length);
        paged.push(...page.agents.map(({ id }) => id));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(paged).toEqual(all);
    }
  });

  test("has a cursor behind which nothing is missed", async () => {
    for (const state of [AgentState.UNSPECIFIED, AgentState.IDLE]) {
      const { cursor } = await server.client.agent.listAgents({ state });
      const agentId = await register();
      for await (const event of watch(server.client, { resumeAfter: cursor })) {
        expect(event.metadata?.agentId).toBe(agentId);
        break;
      }
    }
  });
});

describe("GetCapabilities()", () => {
  test("unites what the agents can do that are live", async () => {
    const { agentId } = await server.client.agent.register({
      name: "c",
      type: AgentType.WORKER,
      capabilities: {
        supportedTasks: ["zeta-work", "alpha-work"],
        maxConcurrentTasks: 40,
        supportsStreaming: true,
      },
    });
    const { capabilities } = await server.client.agent.getCapabilities({});
    expect(capabilities?.supportedTasks).toEqual(expect.arrayContaining(["alpha-work", "zeta-work"]));
    expect(capabilities?.supportsStreaming).toBe(true);
    expect(capabilities?.maxConcurrentTasks).toBeGreaterThan(40);
    await server.client.agent.unregister({ agentId });
    const after = await server.client.agent.getCapabilities({});
    expect(after.capabilities?.supportedTasks).not.toContain("zeta-work");
  });
});

describe("GetStatus()", () => {
  test("counts agents and lines, and what they use", async () => {
    const before = await server.client.agent.getStatus({});
    const agentId = await register();
    const line = await openLine(server.client, agentId);
    await server.client.agent.heartbeat({ agentId, resources: { memoryUsage: 4096n, pidsCount: 3n } });
    const during = await server.client.agent.getStatus({});
    expect(during.liveAgents).toBe(before.liveAgents + 1);
    expect(during.openLines).toBe(before.openLines + 1);
    expect(during.resources?.memoryUsage).toBeGreaterThanOrEqual(4096n);
    await line[Symbol.asyncDispose]();
    await server.client.agent.unregister({ agentId });
    const after = await server.client.agent.getStatus({});
    expect(after).toMatchObject({ liveAgents: before.liveAgents, openLines: before.openLines });
  });
});

describe("StreamAgent()", () => {
  test("says in its headers how often to beat, and makes the agent's line open", async () => {
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    expect(line.headers.get("x-baaaht-heartbeat-interval-ms")).toBe("30000");
    expect((await server.client.agent.getAgent({ agentId })).agent?.lineOpen).toBe(true);
  });

  test("passes messages from agent to agent in their order", async () => {
    const [one, other] = await Promise.all([register(), register()]);
    await using from = await openLine(server.client, one);
    await using to = await openLine(server.client, other);
    for (let index = 0; index < 500; index += 1) from.say(other, String(index));
    for (let index = 0; index < 500; index += 1) {
      const message = await to.message();
      expect(textOf(message)).toBe(String(index));
      expect(message).toMatchObject({ sourceId: one, targetId: other });
    }
  });

  test("answers a heartbeat by a heartbeat", async () => {
    await using line = await openLine(server.client, await register());
    for (let beat = 0; beat < 500; beat += 1) line.beat();
    for (let beat = 0; beat < 500; beat += 1) expect((await line.next())?.case).toBe("heartbeat");
  });

  test("ends OK after the half-close, when all that came before is dealt with", async () => {
    const [one, other] = await Promise.all([register(), register()]);
    await using from = await openLine(server.client, one);
    await using to = await openLine(server.client, other);
    for (let index = 0; index < 100; index += 1) from.say(other, "x");
    from.beat();
    from.halfClose();
    expect((await from.next())?.case).toBe("heartbeat");
    expect(await from.next()).toBeUndefined();
    for (let index = 0; index < 100; index += 1) await to.message();
  });

  test("ends the line before with ABORTED when the agent opens another one", async () => {
    const agentId = await register();
    await using before = await openLine(server.client, agentId);
    const end = thrown(() => before.next());
    await using line = await openLine(server.client, agentId);
    expect(await end).toMatchObject({ kind: "aborted", details: { reason: "LINE_REPLACED" } });
    await server.client.agent.sendMessage({
      agentId,
      message: { type: MessageType.DATA, payload: dataOf("to the new") },
    });
    expect(textOf(await line.message())).toBe("to the new");
    expect((await server.client.agent.getAgent({ agentId })).agent?.lineOpen).toBe(true);
  });

  test("answers a message to nobody with an ERROR of its correlation_id, and goes on", async () => {
    const there = await register();
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    const nobody = Bun.randomUUIDv7();
    for (const [target, reason] of [
      [nobody, "AGENT_NOT_FOUND"],
      [there, "AGENT_NOT_CONNECTED"],
    ] as const) {
      line.say(target, "hello?", "corr-1");
      const message = await line.message();
      expect(message).toMatchObject({
        type: MessageType.ERROR,
        sourceId: "orchestrator",
        targetId: agentId,
        metadata: { correlationId: "corr-1" },
      });
      expect(message.payload.value).toMatchObject({
        headers: { code: "NOT_FOUND", reason, target_id: target },
      });
      expect(textOf(message)).toStartWith(`Cannot pass a message to agent "${target}": `);
    }
    line.say(agentId, "to myself");
    expect(textOf(await line.message())).toBe("to myself");
  });

  test("answers a message to the server that nothing waits for with an ERROR", async () => {
    await using line = await openLine(server.client, await register());
    line.say("", "an answer to nothing");
    const message = await line.message();
    expect(message.payload.value).toMatchObject({ headers: { reason: "MESSAGE_NOT_AWAITED" } });
  });

  test("puts an EVENT for the server into the log", async () => {
    const { sessionId } = await server.client.orchestrator.createSession({
      metadata: { labels: { team: "blue" } },
    });
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    const value = { eventType: "model-loaded", source: "gpu-0", data: { model: "m", event_type: "mine" } };
    line.send({
      id: "e1",
      type: MessageType.EVENT,
      payload: { case: "eventMessage", value },
      metadata: { sessionId, correlationId: "corr-7" },
    });
    line.beat();
    expect((await line.next())?.case).toBe("heartbeat"); // what came before it is durable
    const event = (await eventsOf(agentId)).at(-1);
    expect(event).toMatchObject({
      type: EventType.IPC_MESSAGE,
      source: "agent.grpc",
      data: { event_type: "model-loaded", event_source: "gpu-0", model: "m", message_id: "e1" },
      metadata: { agentId, sessionId, correlationId: "corr-7", labels: { team: "blue" } },
    });
  });

  test("counts a message of type HEARTBEAT as a frame, and does not answer it", async () => {
    await using line = await openLine(server.client, await register());
    line.send({ type: MessageType.HEARTBEAT });
    line.beat();
    line.halfClose();
    expect((await line.next())?.case).toBe("heartbeat");
    expect(await line.next()).toBeUndefined();
  });
});

describe("SendMessage()", () => {
  test("brings every order to the agent, in order", async () => {
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    const orders = [
      ControlCommand.PAUSE,
      ControlCommand.RESUME,
      ControlCommand.CANCEL,
      ControlCommand.SHUTDOWN,
    ];
    for (const command of orders) {
      const value = { command, parameters: { task_id: "t1" } };
      await server.client.agent.sendMessage({
        agentId,
        message: { type: MessageType.CONTROL, payload: { case: "controlMessage", value } },
      });
    }
    for (const command of orders) {
      const message = await line.message();
      expect(message).toMatchObject({ type: MessageType.CONTROL, sourceId: "", targetId: agentId });
      expect(message.payload.value).toMatchObject({ command, parameters: { task_id: "t1" } });
    }
  });

  test("passes on everything that a message has, and makes what is missing", async () => {
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    const message: MessageInitShape<typeof AgentMessageSchema> = {
      id: "m-1",
      type: MessageType.TASK_UPDATE,
      targetId: agentId,
      timestamp: { seconds: 1_700_000_000n, nanos: 5_000_000 },
      payload: {
        case: "taskMessage",
        value: {
          taskId: "t",
          sessionId: "s",
          state: TaskState.RUNNING,
          progress: 0.5,
          statusMessage: "half",
          output: Buffer.of(0, 255),
        },
      },
      metadata: { correlationId: "c", sessionId: "s", headers: { a: "b" }, priority: -3 },
    };
    const sent = await server.client.agent.sendMessage({ agentId, message });
    expect(sent.messageId).toBe("m-1");
    const got = await line.message();
    expect(got).toMatchObject({ ...message, payload: { case: "taskMessage" } });
    expect(got.payload.value).toMatchObject({
      taskId: "t",
      sessionId: "s",
      state: TaskState.RUNNING,
      progress: 0.5,
      statusMessage: "half",
    });
    const bare = await server.client.agent.sendMessage({
      agentId,
      message: { type: MessageType.DATA, payload: dataOf("x") },
    });
    const made = await line.message();
    expect(made.id).toBe(bare.messageId);
    expect(made.timestamp).toEqual(bare.timestamp);
  });

  test("with an idempotency key passes one message on, also when it is asked at once", async () => {
    const agentId = await register();
    await using line = await openLine(server.client, agentId);
    const request = {
      agentId,
      idempotencyKey: crypto.randomUUID(),
      message: { type: MessageType.DATA, payload: dataOf("once") },
    };
    const answers = await Promise.all([1, 2, 3].map(() => server.client.agent.sendMessage(request)));
    answers.push(await server.client.agent.sendMessage(request));
    expect(new Set(answers.map(({ messageId }) => messageId)).size).toBe(1);
    expect(new Set(answers.map(({ timestamp }) => timestamp?.nanos)).size).toBe(1);
    const other = { ...request, message: { type: MessageType.DATA, payload: dataOf("other") } };
    expect(await thrown(() => server.client.agent.sendMessage(other))).toMatchObject({
      kind: "already_exists",
      details: { reason: "IDEMPOTENCY_KEY_REUSED" },
    });
    await server.client.agent.sendMessage({
      agentId,
      message: { type: MessageType.DATA, payload: dataOf("last") },
    });
    expect(textOf(await line.message())).toBe("once");
    expect(textOf(await line.message())).toBe("last");
  });

  test("to an agent without a line is NOT_FOUND, and does not use the key up", async () => {
    const agentId = await register();
    const request = {
      agentId,
      idempotencyKey: "k",
      message: { type: MessageType.DATA, payload: dataOf("x") },
    };
    const refused = await thrown(() => server.client.agent.sendMessage(request));
    expect(refused).toMatchObject({ kind: "not_found", details: { reason: "AGENT_NOT_CONNECTED" } });
    await using line = await openLine(server.client, agentId);
    await server.client.agent.sendMessage(request);
    expect(textOf(await line.message())).toBe("x");
  });

  test("to the orchestrator puts an agent's EVENT into the log", async () => {
    const agentId = await register();
    const message = {
      type: MessageType.EVENT,
      sourceId: agentId,
      payload: { case: "eventMessage" as const, value: { eventType: "warmed-up" } },
    };
    await server.client.agent.sendMessage({ agentId: "orchestrator", message });
    expect((await eventsOf(agentId)).at(-1)).toMatchObject({ type: EventType.IPC_MESSAGE });
  });
});

function dataOf(text: string) {
  return { case: "dataMessage" as const, value: { contentType: "text/plain", data: Buffer.from(text) } };
}
