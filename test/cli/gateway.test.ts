import { afterAll, beforeAll, expect, test } from "bun:test";
import { startAssistant } from "../chat/test-assistant.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Ended, reaching, typed as typedIn } from "./command-line.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
}, 30_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

function typed(...args: readonly string[]): Promise<Ended> {
  return typedIn(args, { server: reaching(server.socketPath) });
}

test("gateway session list, get and close show what a user interface has opened, and end it", async () => {
  const { sessionId } = await server.client.gateway.createGatewaySession({
    metadata: { name: "web", userId: "u1", clientType: "web", clientVersion: "1.0", labels: { team: "red" } },
    config: { enableStreaming: true, streamConfig: { chunkSize: 64n } },
  });
  await server.client.orchestrator.createSession({ metadata: { name: "plain" } });
  expect((await typed("gateway", "session", "list", "-q")).stdout).toBe(`${sessionId}\n`);
  expect((await typed("gateway", "session", "list", "-q", "--user", "u2")).stdout).toBe("");
  const shown = await typed("gateway", "session", "get", "web");
  expect(shown.stdout).toMatch(/State: +active/);
  expect(shown.stdout).toMatch(/Client: +web 1\.0/);
  expect(shown.stdout).toMatch(/Chunk size: +64 bytes/);
  const json = JSON.parse((await typed("gateway", "session", "get", sessionId, "-o", "json")).stdout);
  expect(json).toMatchObject({ id: sessionId, config: { streamConfig: { chunkSize: "64" } } });
  const closed = await typed("gateway", "session", "close", "web", "--reason", "idle", "-o", "json");
  expect(JSON.parse(closed.stdout)).toEqual({ sessionId, state: "GATEWAY_SESSION_STATE_CLOSED" });
  expect((await typed("gateway", "session", "list", "--state", "active", "-q")).stdout).toBe("");
  expect(await typed("gateway", "session", "get", "plain")).toMatchObject({ exitCode: 15 });
});

test("message send --wait prints the answer, once for its id, and fails with the words of why there is none", async () => {
  const { sessionId } = await server.client.orchestrator.createSession({});
  const failed = await typed("message", "send", sessionId, "--wait", "Anybody?");
  expect(failed).toMatchObject({ exitCode: 24, stdout: "" });
  expect(failed.stderr).toContain("there is no assistant");
  await using assistant = await startAssistant(server.client);
  const first = typed("message", "send", sessionId, "--wait", "--id", "q1", "Hello?");
  (await assistant.question()).answer("Hello!\nAgain.");
  expect(await first).toMatchObject({ exitCode: 0, stdout: "Hello!\nAgain.\n", stderr: "" });
  const again = await typed("message", "send", sessionId, "--wait", "--id", "q1", "Hello?", "-o", "json");
  expect(JSON.parse(again.stdout)).toMatchObject({
    content: "Hello!\nAgain.",
    role: "MESSAGE_ROLE_ASSISTANT",
  });
  expect(await typed("message", "send", sessionId, "--wait", "--role", "system", "x")).toMatchObject({
    exitCode: 2,
  });
});
