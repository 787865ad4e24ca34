import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  type AgentMessageSchema,
  AgentService,
  AgentState,
  AgentType,
  MessageType,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { openLine } from "../agents/open-line.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, startCanary } from "./canary.ts";
import { refusalOf } from "./refusal.ts";

const { method } = AgentService;
const { INVALID_ARGUMENT, NOT_FOUND, OK } = grpc.status;

let server: TestServer;
let canary: Canary;
let client: grpc.Client;
/** Of an agent with a line, and of one without. */
let ids: { readonly reached: string; readonly alone: string };
let line: Awaited<ReturnType<typeof openLine>>;

beforeAll(async () => {
  server = await startServer();
  canary = await startCanary(server);
  client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
  ids = { reached: await register(), alone: await register() };
  line = await openLine(server.client, ids.reached);
});

afterAll(async () => {
  // Nothing of all that has hurt anybody else.
  line?.beat();
  expect((await line?.next())?.case).toBe("heartbeat");
  await line?.[Symbol.asyncDispose]();
  client?.close();
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

async function register(): Promise<string> {
  return (await server.client.agent.register({ name: "a", type: AgentType.WORKER })).agentId;
}

type Ask = (ids: { readonly reached: string; readonly alone: string }) => Record<string, unknown>;
type Case = readonly [name: string, method: DescMethod, ask: Ask, code: number, fields: readonly string[]];

function refuses(cases: readonly Case[]): void {
  test.each(cases)("%s", async (_, called, ask, code, fields) => {
    const refusal = await refusalOf(client, called, ask(ids));
    expect(refusal).toMatchObject({ code, fields: [...fields] });
    expect(refusal.message).toStartWith("Cannot ");
    expect(refusal.reason).toMatch(/^[A-Z_]+$/);
  });
}

const unknown = "019ab000-0000-7000-8000-000000000000";
const worker = { name: "w", type: AgentType.WORKER };
const long = (length: number) => "x".repeat(length);
const many = (count: number) => Array.from({ length: count }, (_, index) => `n${index}`);
const map = (count: number) => Object.fromEntries(many(count).map((name) => [name, ""]));

describe("ids", () => {
  const named: readonly (readonly [string, DescMethod])[] = [
    ["Unregister", method.unregister],
    ["Heartbeat", method.heartbeat],
    ["GetAgent", method.getAgent],
    ["StreamAgent", method.streamAgent],
  ];
  refuses([
    ...named.flatMap(([name, called]): Case[] => [
      [`${name}() without an agent is INVALID_ARGUMENT`, called, () => ({}), INVALID_ARGUMENT, ["agent_id"]],
      [`${name}() of an unknown agent is NOT_FOUND`, called, () => ({ agentId: unknown }), NOT_FOUND, []],
      [`${name}() of what is no id is NOT_FOUND`, called, () => ({ agentId: "' OR 1=1 --" }), NOT_FOUND, []],
      [
        `${name}() of a megabyte of id is INVALID_ARGUMENT`,
        called,
        () => ({ agentId: long(1_000_000) }),
        INVALID_ARGUMENT,
        ["agent_id"],
      ],
      [
        `${name}() of an id with control characters is INVALID_ARGUMENT`,
        called,
        () => ({ agentId: "a\u0000b" }),
        INVALID_ARGUMENT,
        ["agent_id"],
      ],
    ]),
  ]);
});

describe("Register()", () => {
  const wrong: readonly (readonly [string, Record<string, unknown>, string])[] = [
    ["no name", { name: "" }, "name"],
    ["a name of blanks", { name: "  " }, "name"],
    ["a name too long", { name: long(257) }, "name"],
    ["ten megabytes of name", { name: long(10_000_000) }, "name"],
    ["a name that rings", { name: "a\u0007" }, "name"],
    ["no type", { type: 0 }, "type"],
    ["a type that there is not", { type: 99 }, "type"],
    ["a negative type", { type: -1 }, "type"],
    ["too many labels", { metadata: { labels: map(65) } }, "metadata.labels"],
    ["a label without a key", { metadata: { labels: { "": "x" } } }, "metadata.labels"],
    ["a label too long", { metadata: { labels: { k: long(1_025) } } }, 'metadata.labels["k"]'],
    ["a description too long", { metadata: { description: long(4_097) } }, "metadata.description"],
    ["a version too long", { metadata: { version: long(257) } }, "metadata.version"],
    ["an owner too long", { metadata: { ownerId: long(257) } }, "metadata.owner_id"],
    ["a hostname too long", { metadata: { hostname: long(257) } }, "metadata.hostname"],
    ["a pid too long", { metadata: { pid: long(129) } }, "metadata.pid"],
    ["too many tags", { metadata: { tags: many(257) } }, "metadata.tags"],
    ["an empty tag", { metadata: { tags: ["a", ""] } }, "metadata.tags[1]"],
    ["too many tasks", { capabilities: { supportedTasks: many(257) } }, "capabilities.supported_tasks"],
    ["a tool too long", { capabilities: { supportedTools: [long(129)] } }, "capabilities.supported_tools[0]"],
    [
      "a protocol with a line end of its own",
      { capabilities: { supportedProtocols: ["a\u0085"] } },
      "capabilities.supported_protocols[0]",
    ],
    [
      "fewer than no tasks at a time",
      { capabilities: { maxConcurrentTasks: -1 } },
      "capabilities.max_concurrent_tasks",
    ],
    [
      "two thousand million tasks at a time",
      { capabilities: { maxConcurrentTasks: 2_147_483_647 } },
      "capabilities.max_concurrent_tasks",
    ],
    [
      "negative limits",
      { capabilities: { resourceLimits: { nanoCpu: -1n } } },
      "capabilities.resource_limits.nano_cpu",
    ],
    [
      "more text than one agent may have",
      {
        capabilities: {
          supportedTasks: many(256).map((name) => name + long(120)),
          supportedTools: many(256).map((name) => name + long(120)),
          supportedProtocols: many(256).map((name) => name + long(120)),
        },
      },
      "metadata",
    ],
  ];
  refuses(
    wrong.map(
      ([what, more, field]): Case => [
        `with ${what} is INVALID_ARGUMENT naming ${field}`,
        method.register,
        () => ({ ...worker, ...more }),
        INVALID_ARGUMENT,
        [field],
      ],
    ),
  );

  test("names all that is wrong at once", async () => {
    const refusal = await refusalOf(client, method.register, {
      name: "",
      type: AgentType.TOOL,
      metadata: { tags: [""], pid: long(200) },
      capabilities: { maxConcurrentTasks: -5 },
    });
    expect(refusal.fields.toSorted()).toEqual([
      ...["capabilities.max_concurrent_tasks", "metadata.pid", "metadata.tags[0]", "name"],
    ]);
  });

  test("takes names of any script, and shows them as they are", async () => {
    const name = "助手 \u202Eevil 🤖";
    const { agentId } = await server.client.agent.register({ name, type: AgentType.GATEWAY });
    expect((await server.client.agent.getAgent({ agentId })).agent?.name).toBe(name);
    await server.client.agent.unregister({ agentId });
  });
});

describe("Heartbeat()", () => {
  const wrong: readonly (readonly [string, Record<string, unknown>, string])[] = [
    ["NaN", { cpuPercent: Number.NaN }, "resources.cpu_percent"],
    ["infinity", { memoryPercent: Number.POSITIVE_INFINITY }, "resources.memory_percent"],
    ["a negative share", { cpuPercent: -0.5 }, "resources.cpu_percent"],
    ["negative memory", { memoryUsage: -1n }, "resources.memory_usage"],
    ["more than any machine has", { networkRx: 9_223_372_036_854_775_807n }, "resources.network_rx"],
  ];
  refuses([
    ...wrong.map(
      ([what, resources, field]): Case => [
        `with ${what} in its resources is INVALID_ARGUMENT`,
        method.heartbeat,
        ({ alone }) => ({ agentId: alone, resources }),
        INVALID_ARGUMENT,
        [field],
      ],
    ),
    [
      "with too many tasks is INVALID_ARGUMENT",
      method.heartbeat,
      ({ alone }) => ({ agentId: alone, activeTasks: many(1_001) }),
      INVALID_ARGUMENT,
      ["active_tasks"],
    ],
    [
      "with a task without an id is INVALID_ARGUMENT",
      method.heartbeat,
      ({ alone }) => ({ agentId: alone, activeTasks: ["t", ""] }),
      INVALID_ARGUMENT,
      ["active_tasks[1]"],
    ],
    [
      "Unregister() with too long a reason is INVALID_ARGUMENT",
      method.unregister,
      ({ alone }) => ({ agentId: alone, reason: long(1_025) }),
      INVALID_ARGUMENT,
      ["reason"],
    ],
  ]);

  test("that is refused changes nothing of what the agent has said", async () => {
    const agentId = await register();
    await server.client.agent.heartbeat({ agentId, activeTasks: ["t"] });
    await refusalOf(client, method.heartbeat, { agentId, activeTasks: many(1_001) });
    expect((await server.client.agent.getAgent({ agentId })).agent).toMatchObject({ activeTasks: ["t"] });
  });
});

describe("ListAgents()", () => {
  refuses([
    [
      "of an unknown type is INVALID_ARGUMENT",
      method.listAgents,
      () => ({ type: 77 }),
      INVALID_ARGUMENT,
      ["type"],
    ],
    [
      "in an unknown state is INVALID_ARGUMENT",
      method.listAgents,
      () => ({ state: 77 }),
      INVALID_ARGUMENT,
      ["state"],
    ],
    [
      "in a state that no agent is listed in is INVALID_ARGUMENT",
      method.listAgents,
      () => ({ state: AgentState.REGISTERING }),
      INVALID_ARGUMENT,
      ["state"],
    ],
    [
      "with a negative page is INVALID_ARGUMENT",
      method.listAgents,
      () => ({ pageSize: -1 }),
      INVALID_ARGUMENT,
      ["page_size"],
    ],
    [
      "with a made-up token is INVALID_ARGUMENT",
      method.listAgents,
      () => ({ pageToken: "abc" }),
      INVALID_ARGUMENT,
      ["page_token"],
    ],
  ]);

  test("with the token of another filter is INVALID_ARGUMENT", async () => {
    const { nextPageToken } = await server.client.agent.listAgents({ pageSize: 1 });
    const refusal = await refusalOf(client, method.listAgents, {
      pageToken: nextPageToken,
      state: AgentState.IDLE,
    });
    expect(refusal).toMatchObject({ code: INVALID_ARGUMENT, fields: ["page_token"] });
  });
});

/** What can be wrong with a message, and where. */
const badMessages: readonly (readonly [string, MessageInitShape<typeof AgentMessageSchema>, string])[] = [
  ["without a type", { payload: dataOf("x") }, "message.type"],
  ["of an unknown type", { type: 99 as MessageType }, "message.type"],
  ["of type DATA without data", { type: MessageType.DATA }, "message.data_message"],
  [
    "of type CONTROL with data",
    { type: MessageType.CONTROL, payload: dataOf("x") },
    "message.control_message",
  ],
  [
    "with an order that is none",
    { type: MessageType.CONTROL, payload: { case: "controlMessage", value: {} } },
    "message.control_message.command",
  ],
  [
    "about no task",
    { type: MessageType.TASK_UPDATE, payload: { case: "taskMessage", value: {} } },
    "message.task_message.task_id",
  ],
  [
    "whose progress is NaN",
    {
      type: MessageType.TASK_UPDATE,
      payload: { case: "taskMessage", value: { taskId: "t", progress: Number.NaN } },
    },
    "message.task_message.progress",
  ],
  ["with a huge id", { id: long(129), type: MessageType.DATA, payload: dataOf("x") }, "message.id"],
  [
    "with a huge correlation id",
    { type: MessageType.DATA, payload: dataOf("x"), metadata: { correlationId: long(129) } },
    "message.metadata.correlation_id",
  ],
  [
    "with too many headers",
    { type: MessageType.DATA, payload: dataOf("x"), metadata: { headers: map(65) } },
    "message.metadata.headers",
  ],
  [
    "from before time",
    { type: MessageType.DATA, payload: dataOf("x"), timestamp: { seconds: 0n, nanos: -1 } },
    "message.timestamp",
  ],
  [
    "larger than any queue",
    {
      type: MessageType.DATA,
      payload: { case: "dataMessage", value: { data: new Uint8Array(33 * 1024 * 1024) } },
    },
    "message",
  ],
];

describe("SendMessage()", () => {
  test.each(badMessages)("of a message %s is INVALID_ARGUMENT", async (_, message, field) => {
    const refusal = await refusalOf(client, method.sendMessage, { agentId: ids.reached, message });
    expect(refusal).toMatchObject({ code: INVALID_ARGUMENT, fields: [field] });
  });

  const data = { type: MessageType.DATA, payload: dataOf("x") };
  refuses([
    [
      "without an agent is INVALID_ARGUMENT",
      method.sendMessage,
      () => ({ message: data }),
      INVALID_ARGUMENT,
      ["agent_id"],
    ],
    [
      "without a message is INVALID_ARGUMENT",
      method.sendMessage,
      ({ reached }) => ({ agentId: reached }),
      INVALID_ARGUMENT,
      ["message"],
    ],
    [
      "to nobody is NOT_FOUND",
      method.sendMessage,
      () => ({ agentId: unknown, message: data }),
      NOT_FOUND,
      [],
    ],
    [
      "to an agent without a line is NOT_FOUND",
      method.sendMessage,
      ({ alone }) => ({ agentId: alone, message: data }),
      NOT_FOUND,
      [],
    ],
    [
      "to two agents at once is INVALID_ARGUMENT",
      method.sendMessage,
      ({ alone, reached }) => ({ agentId: reached, message: { ...data, targetId: alone } }),
      INVALID_ARGUMENT,
      ["message.target_id"],
    ],
    [
      "as the orchestrator is INVALID_ARGUMENT",
      method.sendMessage,
      ({ reached }) => ({ agentId: reached, message: { ...data, sourceId: "orchestrator" } }),
      INVALID_ARGUMENT,
      ["message.source_id"],
    ],
    [
      "as an agent that is not there is NOT_FOUND",
      method.sendMessage,
      ({ reached }) => ({ agentId: reached, message: { ...data, sourceId: unknown } }),
      NOT_FOUND,
      [],
    ],
    [
      "to the orchestrator as nobody is INVALID_ARGUMENT",
      method.sendMessage,
      () => ({ agentId: "orchestrator", message: data }),
      INVALID_ARGUMENT,
      ["message.source_id"],
    ],
    [
      "with a huge key is INVALID_ARGUMENT",
      method.sendMessage,
      ({ reached }) => ({ agentId: reached, message: data, idempotencyKey: long(257) }),
      INVALID_ARGUMENT,
      ["idempotency_key"],
    ],
  ]);
});

describe("StreamAgent()", () => {
  test.each(badMessages)("ends with INVALID_ARGUMENT at a message %s", async (_, message, field) => {
    await using bad = await openLine(server.client, ids.alone);
    bad.send({ targetId: ids.reached, ...message });
    expect(await thrown(() => bad.next())).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field }] },
    });
  });

  test("ends with INVALID_ARGUMENT at a message of another source", async () => {
    for (const sourceId of [ids.reached, "orchestrator", "somebody"]) {
      await using bad = await openLine(server.client, ids.alone);
      bad.send({ type: MessageType.DATA, payload: dataOf("x"), targetId: ids.reached, sourceId });
      expect(await thrown(() => bad.next())).toMatchObject({
        kind: "invalid_argument",
        details: { reason: "SOURCE_NOT_YOURS", violations: [{ field: "message.source_id" }] },
      });
    }
  });

  test("ends with INVALID_ARGUMENT at a frame of another agent, and at one that says nothing", async () => {
    for (const [frame, field] of [
      [{ agentId: ids.reached }, "agent_id"],
      [{}, "payload"],
    ] as const) {
      await using bad = await openLine(server.client, ids.alone);
      bad.frame(frame);
      expect(await thrown(() => bad.next())).toMatchObject({
        kind: "invalid_argument",
        details: { violations: [{ field }] },
      });
    }
  });

  test("that is half-closed at once is opened and ends OK", async () => {
    expect(await refusalOf(client, method.streamAgent, { agentId: ids.alone })).toMatchObject({ code: OK });
  });

  test("without any frame is INVALID_ARGUMENT", async () => {
    const call = server.client.agent.streamAgent((async function* () {})());
    expect(await thrown(() => Array.fromAsync(call))).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "agent_id" }] },
    });
  });
});

function dataOf(text: string) {
  return { case: "dataMessage" as const, value: { data: Buffer.from(text) } };
}
