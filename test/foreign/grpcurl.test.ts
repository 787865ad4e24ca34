import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { runCommand } from "../../scripts/run-command.ts";
import { type CompiledServer, startCompiledServer } from "./compiled-server.ts";
import { programs } from "./programs.ts";

const SET_UP_TIMEOUT_MS = 300_000;

const orchestrator = "proto.orchestrator.v1.OrchestratorService";
const families = ["proto.", ""] as const;

let server: CompiledServer;

beforeAll(async () => {
  server = await startCompiledServer();
}, SET_UP_TIMEOUT_MS);

afterAll(() => server[Symbol.asyncDispose]());

/** Runs grpcurl with flags, the server's socket, and words. It knows nothing of the API but what reflection tells. */
async function grpcurl(flags: readonly string[], ...words: readonly string[]) {
  const command = [programs.grpcurl, "-plaintext", "-unix", ...flags, server.socketPath, ...words];
  const { exitCode, stdout, output } = await runCommand(command);
  return { exitCode, stdout, output };
}

/** The same for a call that succeeds; its answer. */
async function call(method: string, request: unknown = {}): Promise<Record<string, unknown>> {
  const { exitCode, stdout, output } = await grpcurl(["-d", JSON.stringify(request)], method);
  expect(output).not.toContain("ERROR");
  expect(exitCode).toBe(0);
  return JSON.parse(stdout);
}

/** The same for a call that fails; its status. */
async function failure(method: string, request: unknown = {}): Promise<Record<string, unknown>> {
  const { exitCode, output } = await grpcurl(["-format-error", "-d", JSON.stringify(request)], method);
  const status = JSON.parse(output);
  // What grpcurl ends with.
  expect(exitCode).toBe(64 + status.code);
  return status;
}

async function listed(...words: readonly string[]): Promise<string[]> {
  const { exitCode, stdout, output } = await grpcurl([], "list", ...words);
  if (exitCode !== 0) throw new Error(output);
  return stdout.trim().split("\n");
}

describe("grpcurl by reflection", () => {
  test("list names every service of both families, health and reflection", async () => {
    expect(await listed()).toEqual([
      "agent.v1.AgentService",
      "gateway.v1.GatewayService",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "orchestrator.v1.OrchestratorService",
      "proto.agent.v1.AgentService",
      "proto.gateway.v1.GatewayService",
      "proto.orchestrator.v1.OrchestratorService",
    ]);
  });

  test.each([
    ["orchestrator.v1.OrchestratorService", ["CreateSession", "SubscribeEvents", "ExecContainer"], 32],
    ["agent.v1.AgentService", ["Register", "StreamTask", "StreamTasks", "GetCapabilities"], 16],
    ["gateway.v1.GatewayService", ["CreateGatewaySession", "StreamChat", "SubscribeToEvents"], 10],
  ])("list %s names its methods, under both names", async (service, some, count) => {
    for (const family of families) {
      const methods = await listed(family + service);
      expect(methods).toHaveLength(count);
      expect(methods).toContainValues(some.map((method) => `${family}${service}.${method}`));
    }
  });

  test("describe shows every service of both families", async () => {
    const { exitCode, stdout } = await grpcurl([], "describe");
    expect(exitCode).toBe(0);
    const services = [...stdout.matchAll(/^(\S+) is a service:$/gm)].map(([, name]) => name);
    expect(services).toEqual(await listed());
    expect(stdout).toContain(
      "rpc CreateSession ( .orchestrator.v1.CreateSessionRequest ) returns ( .orchestrator.v1.CreateSessionResponse );",
    );
  });

  test("describe shows messages of both families, and those of error details", async () => {
    for (const name of [
      "proto.orchestrator.v1.Session",
      "orchestrator.v1.Session",
      "proto.agent.v1.Task",
      "agent.v1.Task",
      "proto.gateway.v1.StreamChatResponse",
      "gateway.v1.StreamChatResponse",
      "proto.common.v1.ResourceLimits",
      "common.v1.ResourceLimits",
      "google.rpc.BadRequest",
    ]) {
      const described = await grpcurl([], "describe", name);
      expect(described.exitCode).toBe(0);
      expect(described.stdout).toStartWith(`${name} is a message:`);
    }
  });

  test("describe -msg-template gives a request that can be filled in", async () => {
    const template = await grpcurl(
      ["-msg-template"],
      "describe",
      "proto.orchestrator.v1.CreateSessionRequest",
    );
    expect(template.stdout).toContain('"idempotencyKey"');
    expect(template.stdout).toContain('"maxContainers"');
  });
});

describe("grpcurl's calls of what people do first", () => {
  test("CreateSession and ListSessions", async () => {
    const created = await call(`${orchestrator}/CreateSession`, { metadata: { name: "test-session" } });
    expect(created.session).toMatchObject({
      id: created.sessionId,
      state: "SESSION_STATE_ACTIVE",
      metadata: { name: "test-session" },
    });
    const { sessions } = await call(`${orchestrator}/ListSessions`);
    expect(sessions).toContainEqual(expect.objectContaining({ id: created.sessionId }));
  });

  test("a request that is not given is an empty one", async () => {
    const { exitCode, stdout } = await grpcurl([], `${orchestrator}/ListSessions`);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toHaveProperty("cursor");
  });

  test("a session, with its sizes as numbers", async () => {
    const { session } = await call(`${orchestrator}/CreateSession`, {
      metadata: { name: "my-session", description: "Example session", ownerId: "user-123" },
      config: {
        maxContainers: 10,
        idleTimeoutNs: "3600000000000",
        resourceLimits: { nanoCpu: "1000000000", memoryBytes: "102410241024" },
      },
    });
    expect(session).toMatchObject({
      metadata: { description: "Example session", ownerId: "user-123" },
      context: { config: { resourceLimits: { memoryBytes: "102410241024" } } },
    });
    const { id } = session as { id: string }; // asserted above
    const of = { filter: { state: "SESSION_STATE_ACTIVE", ownerId: "user-123" } };
    expect(await call(`${orchestrator}/ListSessions`, of)).toMatchObject({
      totalCount: 1,
      sessions: [{ id }],
    });
    const message = { role: "MESSAGE_ROLE_USER", content: "Hello, orchestrator!" };
    const sent = await call(`${orchestrator}/SendMessage`, { sessionId: id, message });
    expect(await call(`${orchestrator}/GetSession`, { sessionId: id })).toMatchObject({
      session: { context: { messages: [{ id: sent.messageId, ...message }] } },
    });
    const close = { sessionId: id, reason: "User logged out" };
    expect(await call(`${orchestrator}/CloseSession`, close)).toEqual({
      sessionId: id,
      state: "SESSION_STATE_CLOSED",
    });
  });

  test("a container, made, read, stopped and removed", async () => {
    const { sessionId } = await call(`${orchestrator}/CreateSession`);
    const { containerId, container } = await call(`${orchestrator}/CreateContainer`, {
      sessionId,
      config: {
        image: server.image,
        command: ["sh"],
        args: ["-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"],
        workingDir: "/tmp",
        env: { PYTHONUNBUFFERED: "1" },
        resourceLimits: { nanoCpu: "500000000", memoryBytes: "51210241024" },
      },
    });
    expect(container).toMatchObject({ state: "CONTAINER_STATE_RUNNING", config: { workingDir: "/tmp" } });
    expect(await call(`${orchestrator}/GetContainer`, { containerId })).toMatchObject({
      container: { config: { resourceLimits: { nanoCpu: "500000000", memoryBytes: "51210241024" } } },
    });
    // Its trap is in place when it has said something.
    const logs = server.client.orchestrator.streamContainerLogs({
      containerId: String(containerId),
      follow: true,
    });
    for await (const _ready of logs) break;
    expect(await call(`${orchestrator}/StopContainer`, { containerId, timeoutNs: "10000000000" })).toEqual({
      containerId,
      state: "CONTAINER_STATE_EXITED",
    });
    expect(await call(`${orchestrator}/RemoveContainer`, { containerId })).toEqual({ containerId });
  }, 60_000);

  test("SubscribeEvents with a filter, and an end", async () => {
    const { sessionId } = await call(`${orchestrator}/CreateSession`);
    const filter = { type: "EVENT_TYPE_SESSION_CREATED", sessionId, endTime: new Date().toISOString() };
    const event = await call(`${orchestrator}/SubscribeEvents`, { filter, fromStart: true });
    expect(event).toMatchObject({
      type: "EVENT_TYPE_SESSION_CREATED",
      source: "orchestrator.grpc",
      metadata: { sessionId },
    });
  });

  test("HealthCheck and GetStatus of all services, under both names", async () => {
    for (const service of ["orchestrator.v1.OrchestratorService", "gateway.v1.GatewayService"]) {
      for (const family of families) {
        expect(await call(`${family}${service}/HealthCheck`)).toMatchObject({ health: "HEALTH_HEALTHY" });
        expect(await call(`${family}${service}/GetStatus`)).toMatchObject({ status: "STATUS_RUNNING" });
      }
    }
    for (const family of families) {
      expect(await call(`${family}agent.v1.AgentService/HealthCheck`)).toMatchObject({
        status: "STATUS_RUNNING",
      });
    }
  });
});

describe("grpcurl's health checks", () => {
  test("Check without a name", async () => {
    const { exitCode, stdout } = await grpcurl([], "grpc.health.v1.Health/Check");
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ status: "SERVING" });
  });

  test.each([
    "orchestrator",
    "agent",
    "gateway",
    "proto.orchestrator.v1.containers",
    "proto.orchestrator.v1.OrchestratorService",
    "orchestrator.v1.OrchestratorService",
    "grpc.health.v1.Health",
  ])('Check of "%s"', async (service) => {
    expect(await call("grpc.health.v1.Health/Check", { service })).toEqual({ status: "SERVING" });
  });

  test("Check of a name that is none is NOT_FOUND", async () => {
    expect(await failure("grpc.health.v1.Health/Check", { service: "nobody" })).toMatchObject({ code: 5 });
  });
});

describe("grpcurl's errors", () => {
  test("a wrong field is named in words and in google.rpc.BadRequest", async () => {
    const status = await failure(`${orchestrator}/CreateSession`, { config: { maxContainers: -1 } });
    expect(status).toMatchObject({
      code: 3,
      message: expect.stringContaining("config.max_containers is -1"),
      details: [
        {
          "@type": "type.googleapis.com/google.rpc.BadRequest",
          fieldViolations: [{ field: "config.max_containers" }],
        },
        { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "INVALID_ARGUMENT", domain: "baaaht" },
        { "@type": "type.googleapis.com/google.rpc.RequestInfo" },
      ],
    });
  });

  test("the correlation id that was sent is the one in the error", async () => {
    const { output } = await grpcurl(
      ["-format-error", "-H", "x-correlation-id: mine-42", "-d", JSON.stringify({ sessionId: "none" })],
      `${orchestrator}/GetSession`,
    );
    expect(JSON.parse(output).details).toContainEqual(
      expect.objectContaining({ metadata: expect.objectContaining({ correlation_id: "mine-42" }) }),
    );
  });
});
