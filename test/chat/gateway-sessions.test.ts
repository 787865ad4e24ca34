import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Health, Status } from "../../src/gen/proto/common/v1/common_pb.ts";
import { GatewayMessageRole, GatewaySessionState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { SessionState } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { startServer, type TestServer } from "../server.ts";
import { gatewaySession, openChat } from "./open-chat.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
}, 30_000);

afterAll(async () => {
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

describe("CreateGatewaySession()", () => {
  test("opens a session with nothing said of it, and fills in defaults", async () => {
    const { session, sessionId } = await server.client.gateway.createGatewaySession({});
    expect(session).toMatchObject({
      id: sessionId,
      state: GatewaySessionState.ACTIVE,
      status: Status.RUNNING,
      config: {
        enableStreaming: true,
        maxMessageSize: 16 * 1024 * 1024,
        streamConfig: { chunkSize: 0n, chunkDelayNs: 0n, enableDelta: true },
      },
    });
    const under = session?.orchestratorSessionId ?? "";
    const { session: found } = await server.client.orchestrator.getSession({ sessionId: under });
    expect(found).toMatchObject({
      state: SessionState.ACTIVE,
      metadata: { name: session?.metadata?.name ?? "?" },
    });
  });

  test("keeps what was said of it, and gives it again for the same key", async () => {
    const request = {
      metadata: {
        name: "web",
        description: "a page",
        labels: { team: "red" },
        userId: "u1",
        tags: ["x"],
        clientType: "web",
        clientVersion: "1.0",
      },
      config: {
        timeoutNs: 60_000_000_000n,
        idleTimeoutNs: 30_000_000_000n,
        enableStreaming: true,
        maxMessageSize: 100,
        streamConfig: { chunkSize: 10n, chunkDelayNs: 5n, enableDelta: false },
        security: { requireAuth: true, allowedOrigins: ["https://example.org"] },
      },
      idempotencyKey: "create-web",
    };
    const { session } = await server.client.gateway.createGatewaySession(request);
    expect(session).toMatchObject({ metadata: request.metadata, config: request.config });
    expect(session?.expiresAt).toBeDefined();
    const again = await server.client.gateway.createGatewaySession(request);
    expect(again.sessionId).toBe(session?.id ?? "?");
    const other = { ...request, metadata: { ...request.metadata, clientType: "cli" } };
    expect(await thrown(() => server.client.gateway.createGatewaySession(other))).toMatchObject({
      kind: "already_exists",
    });
  });

  test("refuses what is out of bounds or can't be kept, each with its field", async () => {
    const refused = await thrown(() =>
      server.client.gateway.createGatewaySession({
        metadata: { userId: "x".repeat(300), clientType: "x".repeat(300) },
        config: {
          timeoutNs: -1n,
          idleTimeoutNs: -1n,
          maxMessageSize: -1,
          streamConfig: { chunkSize: -1n, chunkDelayNs: 60_000_000_001n },
          security: { enableEncryption: true },
        },
      }),
    );
    expect(refused.kind).toBe("invalid_argument");
    expect(refused.details.violations?.map(({ field }) => field)).toEqual([
      "metadata.user_id",
      "metadata.client_type",
      "config.timeout_ns",
      "config.idle_timeout_ns",
      "config.max_message_size",
      "config.stream_config.chunk_size",
      "config.stream_config.chunk_delay_ns",
      "config.security.enable_encryption",
    ]);
  });
});

describe("a gateway session", () => {
  test("ends with its session and ends it with itself, at once in every answer", async () => {
    const { gateway, orchestrator } = server.client;
    const one = await gatewaySession(server.client);
    await orchestrator.closeSession({ sessionId: one, reason: "from below" });
    expect((await gateway.getGatewaySession({ sessionId: one })).session).toMatchObject({
      state: GatewaySessionState.CLOSED,
      status: Status.TERMINATED,
    });
    const two = await gatewaySession(server.client);
    expect(await gateway.closeGatewaySession({ sessionId: two, reason: "from above" })).toMatchObject({
      state: GatewaySessionState.CLOSED,
    });
    expect((await orchestrator.getSession({ sessionId: two })).session).toMatchObject({
      state: SessionState.CLOSED,
      closeReason: "from above",
    });
    expect((await gateway.closeGatewaySession({ sessionId: two })).state).toBe(GatewaySessionState.CLOSED);
    const message = { role: GatewayMessageRole.USER, content: "hi" };
    expect(await thrown(() => gateway.gatewaySendMessage({ sessionId: two, message }))).toMatchObject({
      kind: "failed_precondition",
    });
  });

  test("ends when its time is over", async () => {
    const { gateway } = server.client;
    const sessionId = await gatewaySession(server.client, { timeoutNs: 50_000_000n, enableStreaming: true });
    await using events = gateway.subscribeToEvents({ sessionId, fromStart: true });
    const seen = [];
    for await (const event of events) seen.push(event);
    expect(seen.at(-1)?.data.reason).toContain("max_duration_ns is over");
    expect((await gateway.getGatewaySession({ sessionId })).session?.state).toBe(GatewaySessionState.CLOSED);
  });

  test("lets in only those origins that its security names", async () => {
    const sessionId = await gatewaySession(server.client, {
      security: { allowedOrigins: ["https://example.org"] },
    });
    const { gateway } = server.client;
    const get = (metadata: Record<string, string>) => gateway.getGatewaySession({ sessionId }, { metadata });
    expect(await thrown(() => get({ origin: "https://evil.example" }))).toMatchObject({
      kind: "permission_denied",
      details: { reason: "ORIGIN_NOT_ALLOWED" },
    });
    expect((await get({ origin: "https://example.org" })).session?.id).toBe(sessionId);
    expect((await get({})).session?.id).toBe(sessionId);
  });
});

describe("ListGatewaySessions()", () => {
  test("lists them alone, newest first, by state, user and labels, in pages", async () => {
    const { gateway, orchestrator } = server.client;
    const metadata = { userId: "lister", labels: { kind: "listed" } };
    const ids: string[] = [];
    for (let index = 0; index < 3; index += 1)
      ids.unshift((await gateway.createGatewaySession({ metadata })).sessionId);
    await orchestrator.createSession({ metadata: { ownerId: "lister", labels: { kind: "listed" } } });
    await gateway.closeGatewaySession({ sessionId: ids[2] ?? "" });
    const list = async (filter: object) => {
      const { sessions, totalCount } = await gateway.listGatewaySessions({ filter });
      expect(totalCount).toBe(sessions.length);
      return sessions.map(({ id }) => id);
    };
    expect(await list({ userId: "lister" })).toEqual(ids);
    expect(await list({ labels: { kind: "listed" }, state: GatewaySessionState.ACTIVE })).toEqual(
      ids.slice(0, 2),
    );
    expect(await list({ userId: "lister", status: Status.TERMINATED })).toEqual(ids.slice(2));
    const filter = { userId: "lister" };
    const first = await gateway.listGatewaySessions({ filter, pageSize: 2 });
    const second = await gateway.listGatewaySessions({ filter, pageSize: 2, pageToken: first.nextPageToken });
    expect([...first.sessions, ...second.sessions].map(({ id }) => id)).toEqual(ids);
    expect(second.nextPageToken).toBe("");
  });
});

describe("GatewaySendMessage()", () => {
  test("stores a message once for its key, and refuses one that is larger than the session allows", async () => {
    const { gateway, orchestrator } = server.client;
    const sessionId = await gatewaySession(server.client, { maxMessageSize: 5 });
    const message = {
      role: GatewayMessageRole.SYSTEM,
      content: "hello",
      metadata: { correlationId: "c1", model: "tiny", tokensUsed: 2, extra: { a: "b" } },
    };
    const first = await gateway.gatewaySendMessage({ sessionId, message, idempotencyKey: "k" });
    const again = await gateway.gatewaySendMessage({ sessionId, message, idempotencyKey: "k" });
    expect(again).toEqual(first);
    const { messages } = await orchestrator.listMessages({ sessionId });
    expect(messages).toMatchObject([
      {
        content: "hello",
        metadata: { extra: { a: "b", correlation_id: "c1", model: "tiny", tokens_used: "2" } },
      },
    ]);
    const large = { role: GatewayMessageRole.USER, content: "hello!" };
    expect(await thrown(() => gateway.gatewaySendMessage({ sessionId, message: large }))).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "message.content" }] },
    });
  });
});

describe("StreamResponses()", () => {
  test("refuses a message that there is not, or that nobody answers, and a negative chunk_size", async () => {
    const { gateway } = server.client;
    const sessionId = await gatewaySession(server.client);
    const message = { id: "s1", role: GatewayMessageRole.SYSTEM, content: "hi" };
    await gateway.gatewaySendMessage({ sessionId, message });
    const refusal = async (more: object) => {
      await using responses = gateway.streamResponses({ sessionId, ...more });
      return await thrown(async () => {
        for await (const _ of responses);
      });
    };
    expect(await refusal({ messageId: "none" })).toMatchObject({
      kind: "not_found",
      details: { reason: "MESSAGE_NOT_FOUND" },
    });
    expect(await refusal({ messageId: "s1" })).toMatchObject({ kind: "invalid_argument" });
    expect(await refusal({ options: { chunkSize: -1n } })).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "options.chunk_size" }] },
    });
  });
});

describe("GetStatus()", () => {
  test("counts gateway sessions that are open, and their streams", async () => {
    const { gateway } = server.client;
    const before = await gateway.getStatus({});
    const sessionId = await gatewaySession(server.client);
    await using chat = await openChat(server.client, sessionId);
    const during = await gateway.getStatus({});
    expect(during.activeSessions - before.activeSessions).toBe(1);
    expect(during.activeStreams - before.activeStreams).toBe(1);
    await gateway.closeGatewaySession({ sessionId });
    expect(await chat.next()).toBeUndefined();
    const after = await gateway.getStatus({});
    expect(after.activeSessions).toBe(before.activeSessions);
    expect(after.activeStreams).toBe(before.activeStreams);
    expect((await gateway.healthCheck({})).health).not.toBe(Health.UNSPECIFIED);
  });
});
