import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { DescMethod } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { AgentService } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { GatewayService } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { MessageRole, OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, startCanary } from "./canary.ts";
import { refusalOf } from "./refusal.ts";

const { method } = OrchestratorService;
const { INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, OUT_OF_RANGE, FAILED_PRECONDITION } = grpc.status;

/** int64 and int32 at their ends. */
const MOST = 9_223_372_036_854_775_807n;
const LEAST = -9_223_372_036_854_775_808n;
const MOST_32 = 2_147_483_647;
const LEAST_32 = -2_147_483_648;

let server: TestServer;
let canary: Canary;
let client: grpc.Client;
let sessionId: string;
let closedId: string;

beforeAll(async () => {
  server = await startServer();
  canary = await startCanary(server);
  client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
  ({ sessionId } = await server.client.orchestrator.createSession({}));
  ({ sessionId: closedId } = await server.client.orchestrator.createSession({}));
  await server.client.orchestrator.closeSession({ sessionId: closedId });
});

afterAll(async () => {
  client?.close();
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

/** What is asked for, given the ids of an open and of a closed session. */
type Ask = (ids: { readonly open: string; readonly closed: string }) => Record<string, unknown>;
type Case = readonly [name: string, method: DescMethod, ask: Ask, code: number, fields: readonly string[]];

function refuses(cases: readonly Case[]): void {
  test.each(cases)("%s", async (_, called, ask, code, fields) => {
    const refusal = await refusalOf(client, called, ask({ open: sessionId, closed: closedId }));
    expect(refusal).toMatchObject({ code, fields: [...fields] });
    expect(refusal.message).toStartWith("Cannot ");
    expect(refusal.reason).toMatch(/^[A-Z_]+$/);
  });
}

describe("what is absent", () => {
  test("CreateSession() without anything makes a session that the server names", async () => {
    const { session } = await server.client.orchestrator.createSession({});
    expect(session?.metadata?.name).toMatch(/^session-[0-9a-f]{12}$/);
    expect(session?.context?.config?.maxContainers).toBe(10);
  });

  refuses([
    ["GetSession() names session_id", method.getSession, () => ({}), INVALID_ARGUMENT, ["session_id"]],
    ["UpdateSession() names session_id", method.updateSession, () => ({}), INVALID_ARGUMENT, ["session_id"]],
    ["CloseSession() names session_id", method.closeSession, () => ({}), INVALID_ARGUMENT, ["session_id"]],
    ["SendMessage() names session_id", method.sendMessage, () => ({}), INVALID_ARGUMENT, ["session_id"]],
    [
      "SendMessage() names message",
      method.sendMessage,
      ({ open }) => ({ sessionId: open }),
      INVALID_ARGUMENT,
      ["message"],
    ],
    [
      "SendMessage() names message.role",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { content: "x" } }),
      INVALID_ARGUMENT,
      ["message.role"],
    ],
    ["ListMessages() names session_id", method.listMessages, () => ({}), INVALID_ARGUMENT, ["session_id"]],
    [
      "CreateContainer() names session_id",
      method.createContainer,
      () => ({}),
      INVALID_ARGUMENT,
      ["session_id"],
    ],
    [
      "CreateContainer() names config",
      method.createContainer,
      ({ open }) => ({ sessionId: open }),
      INVALID_ARGUMENT,
      ["config"],
    ],
    [
      "CreateContainer() names config.image",
      method.createContainer,
      ({ open }) => ({ sessionId: open, config: {} }),
      INVALID_ARGUMENT,
      ["config.image"],
    ],
    [
      "GetContainer() names container_id",
      method.getContainer,
      () => ({}),
      INVALID_ARGUMENT,
      ["container_id"],
    ],
    [
      "StopContainer() names container_id",
      method.stopContainer,
      () => ({}),
      INVALID_ARGUMENT,
      ["container_id"],
    ],
    [
      "RemoveContainer() names container_id",
      method.removeContainer,
      () => ({}),
      INVALID_ARGUMENT,
      ["container_id"],
    ],
    [
      "WaitContainer() names container_id",
      method.waitContainer,
      () => ({}),
      INVALID_ARGUMENT,
      ["container_id"],
    ],
    [
      "StreamContainerLogs() names container_id",
      method.streamContainerLogs,
      () => ({}),
      INVALID_ARGUMENT,
      ["container_id"],
    ],
    ["ExecContainer() names start", method.execContainer, () => ({}), INVALID_ARGUMENT, ["start"]],
  ]);
});

describe("ids", () => {
  const bySession = [
    method.getSession,
    method.updateSession,
    method.closeSession,
    method.listMessages,
  ] as const;
  const byContainer = [
    method.getContainer,
    method.stopContainer,
    method.removeContainer,
    method.waitContainer,
    method.streamContainerLogs,
  ] as const;
  const notIds: readonly (readonly [string, string])[] = [
    ["of 10 KB", "x".repeat(10_240)],
    ["with a NUL", "a\0b"],
    ["with control characters", "\u001b[2J"],
    ["with C1 control characters", "\u009b2J"],
  ];
  refuses([
    ...bySession.flatMap((called): readonly Case[] => [
      [
        `${called.name}() of an unknown one is NOT_FOUND`,
        called,
        () => ({ sessionId: "0192" }),
        NOT_FOUND,
        [],
      ],
      ...notIds.map(
        ([what, id]): Case => [
          `${called.name}() of one ${what} names it`,
          called,
          () => ({ sessionId: id }),
          INVALID_ARGUMENT,
          ["session_id"],
        ],
      ),
    ]),
    ...byContainer.flatMap((called): readonly Case[] => [
      [
        `${called.name}() of an unknown one is NOT_FOUND`,
        called,
        () => ({ containerId: "../../x" }),
        NOT_FOUND,
        [],
      ],
      ...notIds.map(
        ([what, id]): Case => [
          `${called.name}() of one ${what} names it`,
          called,
          () => ({ containerId: id }),
          INVALID_ARGUMENT,
          ["container_id"],
        ],
      ),
    ]),
    [
      "a message's of 129 characters names it",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { id: "x".repeat(129), role: 1 } }),
      INVALID_ARGUMENT,
      ["message.id"],
    ],
    [
      "a message's with a NUL names it",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { id: "a\0", role: 1 } }),
      INVALID_ARGUMENT,
      ["message.id"],
    ],
  ]);
});

describe("numbers", () => {
  const limits = (value: bigint) => ({
    nanoCpu: value,
    memoryBytes: value,
    memorySwap: value,
    pidsLimit: value,
  });
  const limitFields = ["nano_cpu", "memory_bytes", "memory_swap", "pids_limit"];
  const wrong = {
    maxContainers: LEAST_32,
    maxDurationNs: LEAST,
    idleTimeoutNs: LEAST,
    resourceLimits: limits(LEAST),
  };
  const wrongFields = [
    ...["max_containers", "max_duration_ns", "idle_timeout_ns"],
    ...limitFields.map((field) => `resource_limits.${field}`),
  ];
  refuses([
    [
      "CreateSession() names every negative one",
      method.createSession,
      () => ({ config: wrong }),
      INVALID_ARGUMENT,
      wrongFields.map((field) => `config.${field}`),
    ],
    [
      "UpdateSession() names every negative one",
      method.updateSession,
      ({ open }) => ({ sessionId: open, context: { config: wrong } }),
      INVALID_ARGUMENT,
      wrongFields.map((field) => `context.config.${field}`),
    ],
    [
      "CreateSession() names a max_containers over the limit",
      method.createSession,
      () => ({ config: { maxContainers: MOST_32 } }),
      INVALID_ARGUMENT,
      ["config.max_containers"],
    ],
    [
      "CreateContainer() names every negative one",
      method.createContainer,
      ({ open }) => ({
        sessionId: open,
        config: { image: "x", resourceLimits: limits(LEAST), restartPolicy: { maximumRetryCount: LEAST_32 } },
      }),
      INVALID_ARGUMENT,
      [
        ...limitFields.map((field) => `config.resource_limits.${field}`),
        "config.restart_policy.maximum_retry_count",
      ],
    ],
    [
      "GetSession() names a negative message_limit",
      method.getSession,
      ({ open }) => ({ sessionId: open, messageLimit: LEAST_32 }),
      INVALID_ARGUMENT,
      ["message_limit"],
    ],
    [
      "ListSessions() names a negative page_size",
      method.listSessions,
      () => ({ pageSize: -1 }),
      INVALID_ARGUMENT,
      ["page_size"],
    ],
    [
      "ListContainers() names a negative page_size",
      method.listContainers,
      () => ({ pageSize: LEAST_32 }),
      INVALID_ARGUMENT,
      ["page_size"],
    ],
    [
      "ListMessages() names a negative page_size",
      method.listMessages,
      ({ open }) => ({ sessionId: open, pageSize: -1 }),
      INVALID_ARGUMENT,
      ["page_size"],
    ],
    [
      "StopContainer() names a negative timeout_ns",
      method.stopContainer,
      () => ({ containerId: "x", timeoutNs: LEAST }),
      INVALID_ARGUMENT,
      ["timeout_ns"],
    ],
    [
      "StopContainer() names a timeout_ns of centuries",
      method.stopContainer,
      () => ({ containerId: "x", timeoutNs: MOST }),
      INVALID_ARGUMENT,
      ["timeout_ns"],
    ],
    [
      "StreamContainerLogs() names a negative tail",
      method.streamContainerLogs,
      () => ({ containerId: "x", tail: -1 }),
      INVALID_ARGUMENT,
      ["tail"],
    ],
    [
      "StreamContainerLogs() names a since that is no time",
      method.streamContainerLogs,
      () => ({ containerId: "x", since: { seconds: MOST, nanos: 0 } }),
      INVALID_ARGUMENT,
      ["since"],
    ],
    [
      "SubscribeEvents() names a negative bookmark_interval_ns",
      method.subscribeEvents,
      () => ({ bookmarkIntervalNs: LEAST }),
      INVALID_ARGUMENT,
      ["bookmark_interval_ns"],
    ],
    [
      "SubscribeEvents() names a start_time that is no time",
      method.subscribeEvents,
      () => ({ filter: { startTime: { seconds: LEAST, nanos: 0 } } }),
      INVALID_ARGUMENT,
      ["filter.start_time"],
    ],
    [
      "SubscribeEvents() names an end_time with wrong nanos",
      method.subscribeEvents,
      () => ({ filter: { endTime: { seconds: 1n, nanos: -1 } } }),
      INVALID_ARGUMENT,
      ["filter.end_time"],
    ],
    [
      "ExecContainer() names a negative timeout_ns",
      method.execContainer,
      () => ({
        payload: { case: "start", value: { containerId: "x", command: ["true"], timeoutNs: LEAST } },
      }),
      INVALID_ARGUMENT,
      ["start.timeout_ns"],
    ],
    [
      "ExecContainer() names a terminal of 4 billion columns",
      method.execContainer,
      () => ({
        payload: {
          case: "start",
          value: { containerId: "x", command: ["true"], size: { columns: 4_294_967_295, rows: 1 } },
        },
      }),
      INVALID_ARGUMENT,
      ["start.size.columns"],
    ],
  ]);

  test("times of centuries are kept as they are, and never come", async () => {
    const { orchestrator } = server.client;
    const config = { maxDurationNs: MOST, idleTimeoutNs: MOST, resourceLimits: limits(MOST) };
    const made = await orchestrator.createSession({ config });
    await orchestrator.sendMessage({ sessionId: made.sessionId, message: { role: 1, content: "x" } });
    const { session } = await orchestrator.getSession({ sessionId: made.sessionId, messageLimit: MOST_32 });
    expect(session?.context?.config).toMatchObject(config);
    expect(session?.context?.messages).toHaveLength(1);
  });

  test("a page of 2 billion is a page of as many as there may be", async () => {
    const { sessions } = await server.client.orchestrator.listSessions({ pageSize: MOST_32 });
    expect(sessions.length).toBeGreaterThan(0);
  });
});

describe("enums", () => {
  refuses([
    [
      "SendMessage() names message.role",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { role: 99 } }),
      INVALID_ARGUMENT,
      ["message.role"],
    ],
    [
      "SendMessage() names a negative message.role",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { role: -1 } }),
      INVALID_ARGUMENT,
      ["message.role"],
    ],
    [
      "ListSessions() names filter.state",
      method.listSessions,
      () => ({ filter: { state: 99 } }),
      INVALID_ARGUMENT,
      ["filter.state"],
    ],
    [
      "ListSessions() names filter.status",
      method.listSessions,
      () => ({ filter: { status: MOST_32 } }),
      INVALID_ARGUMENT,
      ["filter.status"],
    ],
    [
      "ListContainers() names filter.state",
      method.listContainers,
      () => ({ filter: { state: 99 } }),
      INVALID_ARGUMENT,
      ["filter.state"],
    ],
    [
      "CreateContainer() names pull",
      method.createContainer,
      ({ open }) => ({ sessionId: open, config: { image: "x" }, pull: 99 }),
      INVALID_ARGUMENT,
      ["pull"],
    ],
    [
      "CreateContainer() names a mount's type",
      method.createContainer,
      ({ open }) => ({ sessionId: open, config: { image: "x", mounts: [{}, { type: 99 }] } }),
      INVALID_ARGUMENT,
      ["config.mounts[1].type"],
    ],
    [
      "SubscribeEvents() names filter.type",
      method.subscribeEvents,
      () => ({ filter: { type: 99 } }),
      INVALID_ARGUMENT,
      ["filter.type"],
    ],
    [
      "SubscribeEvents() names filter.priority",
      method.subscribeEvents,
      () => ({ filter: { priority: 99 } }),
      INVALID_ARGUMENT,
      ["filter.priority"],
    ],
  ]);
});

describe("page tokens and cursors", () => {
  test("a page token of another list is refused by each, and one of its own is taken", async () => {
    const { orchestrator } = server.client;
    for (const content of ["1", "2"])
      await orchestrator.sendMessage({ sessionId, message: { role: 1, content } });
    const { nextPageToken: ofSessions } = await orchestrator.listSessions({ pageSize: 1 });
    const { nextPageToken: ofMessages } = await orchestrator.listMessages({ sessionId, pageSize: 1 });
    const page = await orchestrator.listMessages({ sessionId, pageSize: 1, pageToken: ofMessages });
    expect(page.messages.map(({ content }) => content)).toEqual(["2"]);
    const refused: readonly (readonly [DescMethod, Record<string, unknown>])[] = [
      [method.listContainers, { pageToken: ofSessions }],
      [method.listMessages, { sessionId, pageToken: ofSessions }],
      [method.listSessions, { pageToken: ofMessages }],
      [method.listMessages, { sessionId: closedId, pageToken: ofMessages }],
      [method.listMessages, { sessionId, newestFirst: true, pageToken: ofMessages }],
      [method.listSessions, { filter: { ownerId: "me" }, pageToken: ofSessions }],
    ];
    for (const [called, request] of refused) {
      expect(await refusalOf(client, called, request)).toMatchObject({
        code: INVALID_ARGUMENT,
        fields: ["page_token"],
      });
    }
  });

  const epochOf = async () => (await server.client.orchestrator.listSessions({})).cursor.split("-")[0];
  const nonsense: readonly string[] = [
    "x",
    "-1",
    "\0",
    "A".repeat(1_000_000),
    "W10",
    Buffer.from("[{},1,2]").toString("base64url"),
  ];
  refuses([
    ...nonsense.map(
      (pageToken, at): Case => [
        `the page token that is no. ${at} of nonsense is refused`,
        method.listSessions,
        () => ({ pageToken }),
        INVALID_ARGUMENT,
        ["page_token"],
      ],
    ),
    ...nonsense.map(
      (resumeAfter, at): Case => [
        `the cursor that is no. ${at} of nonsense is refused`,
        method.subscribeEvents,
        () => ({ resumeAfter }),
        INVALID_ARGUMENT,
        ["resume_after"],
      ],
    ),
    [
      "a cursor of another log is OUT_OF_RANGE",
      method.subscribeEvents,
      () => ({ resumeAfter: "abc123-5" }),
      OUT_OF_RANGE,
      [],
    ],
    [
      "a cursor and from_start together are refused",
      method.subscribeEvents,
      () => ({ resumeAfter: "abc123-5", fromStart: true }),
      INVALID_ARGUMENT,
      ["resume_after"],
    ],
  ]);

  test.each([
    ["-999999999999999", OUT_OF_RANGE],
    ["--1", INVALID_ARGUMENT],
    ["-99999999999999999999", INVALID_ARGUMENT],
  ])("a cursor of this log that ends in %s is %d", async (end, code) => {
    const refusal = await refusalOf(client, method.subscribeEvents, {
      resumeAfter: `${await epochOf()}${end}`,
    });
    expect(refusal.code).toBe(code);
  });
});

describe("too long and too many", () => {
  const words = (count: number) => Array.from({ length: count }, (_, at) => `w${at}`);
  const labels = (count: number) => Object.fromEntries(words(count).map((word) => [word, ""]));
  const metadata = {
    name: "x".repeat(257),
    description: "x".repeat(4_097),
    ownerId: "x".repeat(257),
    labels: labels(65),
    tags: words(65),
  };
  refuses([
    [
      "CreateSession() names all of the metadata",
      method.createSession,
      () => ({ metadata }),
      INVALID_ARGUMENT,
      ["metadata.name", "metadata.description", "metadata.owner_id", "metadata.labels", "metadata.tags"],
    ],
    [
      "CreateSession() names an idempotency_key",
      method.createSession,
      () => ({ idempotencyKey: "k".repeat(257) }),
      INVALID_ARGUMENT,
      ["idempotency_key"],
    ],
    [
      "CloseSession() names its reason",
      method.closeSession,
      ({ open }) => ({ sessionId: open, reason: "x".repeat(1_025) }),
      INVALID_ARGUMENT,
      ["reason"],
    ],
    [
      "UpdateSession() names the task history",
      method.updateSession,
      ({ open }) => ({ sessionId: open, context: { taskHistory: words(100_000) } }),
      INVALID_ARGUMENT,
      ["context.task_history"],
    ],
    [
      "UpdateSession() names a mask that changes nothing we know",
      method.updateSession,
      ({ open }) => ({ sessionId: open, updateMask: { paths: ["x".repeat(10_000)] } }),
      INVALID_ARGUMENT,
      ["update_mask"],
    ],
    [
      "SendMessage() names the content",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { role: 1, content: "ä".repeat(8 * 1024 * 1024 + 1) } }),
      INVALID_ARGUMENT,
      ["message.content"],
    ],
    [
      "SendMessage() names message.metadata.extra",
      method.sendMessage,
      ({ open }) => ({ sessionId: open, message: { role: 1, metadata: { extra: labels(65) } } }),
      INVALID_ARGUMENT,
      ["message.metadata.extra"],
    ],
    [
      "CreateContainer() names config.command",
      method.createContainer,
      ({ open }) => ({ sessionId: open, config: { image: "x", command: words(4_097) } }),
      INVALID_ARGUMENT,
      ["config.command"],
    ],
    [
      "CreateContainer() names config.labels of the server's own",
      method.createContainer,
      ({ open }) => ({ sessionId: open, config: { image: "x", labels: { "baaaht.install": "other" } } }),
      INVALID_ARGUMENT,
      ['config.labels["baaaht.install"]'],
    ],
  ]);

  test("a filter of 40,000 labels finds nothing, and fails nobody", async () => {
    const { sessions } = await server.client.orchestrator.listSessions({
      filter: { labels: labels(40_000) },
    });
    expect(sessions).toEqual([]);
  }, 20_000);
});

describe("idempotency keys and message ids", () => {
  test("used again for other content are ALREADY_EXISTS, and stand for what they stood for", async () => {
    const { orchestrator } = server.client;
    const first = await orchestrator.createSession({ idempotencyKey: "same", metadata: { name: "one" } });
    expect(
      await refusalOf(client, method.createSession, { idempotencyKey: "same", metadata: { name: "two" } }),
    ).toMatchObject({
      code: ALREADY_EXISTS,
      reason: "IDEMPOTENCY_KEY_REUSED",
      fields: ["idempotency_key"],
    });
    const again = await orchestrator.createSession({ idempotencyKey: "same", metadata: { name: "one" } });
    expect(again.sessionId).toBe(first.sessionId);
  });

  test("a message's id used again for another message is ALREADY_EXISTS", async () => {
    const send = { sessionId, message: { id: "mine", role: MessageRole.USER, content: "one" } };
    await server.client.orchestrator.sendMessage(send);
    const other = { ...send, message: { ...send.message, content: "two" } };
    expect(await refusalOf(client, method.sendMessage, other)).toMatchObject({
      code: ALREADY_EXISTS,
      reason: "MESSAGE_ID_REUSED",
      fields: ["message.id"],
    });
  });

  test("names that a language has a meaning for are names like any other", async () => {
    const { orchestrator } = server.client;
    const extra = JSON.parse('{"__proto__": "a", "constructor": "b", "toString": "c"}') as Record<
      string,
      string
    >; // a map of words
    const { messageId } = await orchestrator.sendMessage({
      sessionId,
      message: { role: 1, content: "x", metadata: { extra } },
    });
    const { messages } = await orchestrator.listMessages({ sessionId, newestFirst: true });
    const found = messages.find(({ id }) => id === messageId)?.metadata?.extra ?? {};
    expect(Object.entries(found).toSorted()).toEqual(Object.entries(extra).toSorted());
  });
});

describe("what is closed, and what is served", () => {
  refuses([
    [
      "SendMessage() to a closed session is FAILED_PRECONDITION",
      method.sendMessage,
      ({ closed }) => ({ sessionId: closed, message: { role: 1 } }),
      FAILED_PRECONDITION,
      [],
    ],
    [
      "UpdateSession() of a closed session is FAILED_PRECONDITION",
      method.updateSession,
      ({ closed }) => ({ sessionId: closed, metadata: { name: "x" } }),
      FAILED_PRECONDITION,
      [],
    ],
  ]);

  test("every method of every service is served", async () => {
    const methods = [OrchestratorService, AgentService, GatewayService].flatMap((service) => service.methods);
    // Streams that have nothing to refuse go on until their deadline.
    const deadline = Date.now() + 5_000;
    const refusals = await Promise.all(
      methods.map(async (called) => ({
        name: called.name,
        ...(await refusalOf(client, called, {}, { deadline })),
      })),
    );
    const missing = refusals.filter(({ code }) => code === grpc.status.UNIMPLEMENTED);
    expect(missing.map(({ name }) => name)).toEqual([]);
  });
});
