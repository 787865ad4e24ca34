import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROGRAM } from "../program.ts";
import { startServer, type TestServer } from "../server.ts";
import { baaaht, type Ended, piped, reaching, type Started, typed } from "./command-line.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
}, 30_000);

afterAll(async () => await server[Symbol.asyncDispose]());

/** The command line, within this process, against the server of these tests. */
async function asked(args: readonly string[], { stdin }: Pick<Started, "stdin"> = {}): Promise<Ended> {
  const shell = { server: reaching(server.socketPath), ...(stdin === undefined ? {} : { in: piped(stdin) }) };
  return await typed(args, shell);
}

/** The same as a process of its own, as it comes to the environment. */
async function askedOutside(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  return await baaaht(args, { env: { GRPC_SOCKET_PATH: server.socketPath, ...env } });
}

/** What is written by a command that has to end well. */
async function answer(args: readonly string[], started: Pick<Started, "stdin"> = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await asked(args, started);
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: "" });
  return stdout;
}

async function newSession(name: string, ...more: string[]): Promise<string> {
  return (await answer(["session", "create", "-q", "--name", name, ...more])).trim();
}

test("session create sends what its flags say", async () => {
  const flags = ["--owner", "ada", "-l", "team=search", "--tag", "a", "--tag", "b", "--max-containers", "2"];
  const limits = [
    "--memory",
    "256m",
    "--cpus",
    "0.5",
    "--pids",
    "64",
    "--idle-timeout",
    "1h",
    "--allow-image",
    "debian:*",
  ];
  const json = await answer([
    "session",
    "create",
    "-o",
    "json",
    "--name",
    "all",
    ...flags,
    ...limits,
    "--allow-network",
  ]);
  expect(JSON.parse(json)).toMatchObject({
    state: "SESSION_STATE_ACTIVE",
    metadata: { name: "all", ownerId: "ada", labels: { team: "search" }, tags: ["a", "b"] },
    context: {
      config: {
        maxContainers: 2,
        idleTimeoutNs: "3600000000000",
        allowedImages: ["debian:*"],
        resourceLimits: { memoryBytes: "268435456", nanoCpu: "500000000", pidsLimit: "64" },
        policy: { allowNetwork: true },
      },
    },
    containerIds: [],
  });
});

test("session create sends what its policy flags say, with paths as the server needs them", async () => {
  const flags = [
    "--allow-path",
    "./data",
    "--allow-path",
    "/srv",
    "--join-network",
    "shared",
    "--require-approval",
  ];
  const json = await answer(["session", "create", "-o", "json", "--memory-swap", "1g", ...flags]);
  expect(JSON.parse(json).context.config).toMatchObject({
    resourceLimits: { memorySwap: "1073741824" },
    policy: {
      allowNetwork: true,
      allowedNetworks: ["shared"],
      allowVolumeMount: true,
      allowedPaths: [`${process.cwd()}/data`, "/srv"],
      requireApproval: true,
    },
  });
});

test("container create sends what its flags say; what waits can be shown, found by its name, and rejected", async () => {
  const session = await newSession(
    "careful",
    "--require-approval",
    "--allow-network",
    "--allow-volume-mount",
  );
  const flags = [
    ...["--name", "web", "-v", "cache:/cache:ro", "--tmpfs", "/t", "-p", "127.0.0.1:8080:80/tcp"],
    ...["--restart", "on-failure:2", "--network", "bridge", "--read-only"],
  ];
  const json = await answer([
    "container",
    "create",
    "-o",
    "json",
    "-s",
    session,
    ...flags,
    "demo:1",
    "sleep",
    "9",
  ]);
  expect(JSON.parse(json)).toMatchObject({
    state: "CONTAINER_STATE_CREATED",
    stateReason: "it waits for approval",
    config: {
      name: "web",
      command: ["sleep", "9"],
      mounts: [
        { type: "MOUNT_TYPE_VOLUME", source: "cache", target: "/cache", readOnly: true },
        { type: "MOUNT_TYPE_TMPFS", target: "/t" },
      ],
      ports: [{ containerPort: 80, hostPort: 8080, protocol: "tcp", hostIp: "127.0.0.1" }],
      restartPolicy: { name: "on-failure", maximumRetryCount: 2 },
      networkMode: "bridge",
      readOnlyRootfs: true,
    },
  });
  const shown = await answer(["container", "get", "web"]);
  for (const words of [
    "it waits for approval",
    "127.0.0.1:8080 -> 80/tcp",
    "cache:/cache (read-only)",
    "on-failure, at most 2",
  ]) {
    expect(shown).toContain(words);
  }
  // There is no engine here.
  expect(await asked(["container", "approve", "web"])).toMatchObject({ exitCode: 24 });
  const rejected = await answer(["container", "reject", "web", "--reason", "not today", "-q"]);
  expect(rejected.trim()).toBe(JSON.parse(json).id);
  const told = await answer(["event", "watch", "--session", session, "--from-start", "--count", "4"]);
  expect(told).toContain("approval-requested");
  expect(told).toContain('reason="not today"');
});

test("container create refuses flags that can't hold together", async () => {
  for (const flags of [
    ["--rm", "--restart", "always"],
    ["--network", "none", "--network", "bridge"],
  ]) {
    expect(await asked(["container", "create", "-s", "x", ...flags, "demo:1"])).toMatchObject({
      exitCode: 2,
    });
  }
});

test("session create with the same idempotency key gives the same session", async () => {
  const args = ["session", "create", "-q", "--name", "once", "--idempotency-key", "once-1"];
  expect(await answer(args)).toBe(await answer(args));
});

test("session get finds a session by its id, the beginning of it, and its name", async () => {
  const id = await newSession("find-me");
  for (const word of [id, id.slice(0, 30), "find-me"]) {
    expect(await answer(["session", "get", "-q", word])).toBe(`${id}\n`);
  }
});

test("session get names the candidates of a word that may be several", async () => {
  const ids = [await newSession("twin"), await newSession("twin")];
  const { exitCode, stderr } = await asked(["session", "get", "twin"]);
  for (const id of ids) expect(stderr).toContain(id);
  expect(stderr).toContain('Cannot tell which session "twin" is');
  expect(exitCode).toBe(13);
  await answer(["session", "close", ids[0] ?? ""]);
  // Of those, one is open.
  expect(await answer(["session", "get", "-q", "twin"])).toBe(`${ids[1]}\n`);
});

test("a session that is not there ends with the code of NOT_FOUND, and says so as JSON", async () => {
  expect((await asked(["session", "get", "nobody"])).exitCode).toBe(15);
  const id = "0192f3a4-0000-7000-8000-000000000000";
  const { exitCode, stderr } = await asked(["session", "get", id, "-o", "json"]);
  expect(exitCode).toBe(15);
  expect(JSON.parse(stderr)).toEqual({
    error: {
      code: "NOT_FOUND",
      message: expect.stringContaining(id),
      reason: "SESSION_NOT_FOUND",
      metadata: { session_id: id },
      correlationId: expect.any(String),
    },
  });
});

test("--verbose says code, reason and correlation id", async () => {
  const { stderr } = await asked(["session", "get", "0192f3a4-0000-7000-8000-000000000000", "--verbose"]);
  expect(stderr).toMatch(
    /^error: .*\n {2}code: NOT_FOUND\n {2}reason: SESSION_NOT_FOUND\n {2}session_id: \S+\n {2}correlation_id: \S+\n$/,
  );
});

test("session list filters, limits, and carries a cursor to follow the log from", async () => {
  const first = await newSession("one", "-l", "set=list");
  const second = await newSession("two", "-l", "set=list");
  await newSession("other", "-l", "set=other");
  expect(await answer(["session", "list", "-q", "-l", "set=list"])).toBe(`${second}\n${first}\n`);
  const page = JSON.parse(await answer(["session", "list", "-o", "json", "-l", "set=list", "--limit", "1"]));
  expect(page).toMatchObject({ sessions: [{ id: second }], totalCount: 2 });

  const third = await newSession("three", "-l", "set=list");
  const args = ["event", "watch", "-o", "jsonl", "--after", page.cursor, "-l", "set=list", "--count", "1"];
  expect(JSON.parse(await answer(args))).toMatchObject({
    type: "EVENT_TYPE_SESSION_CREATED",
    metadata: { sessionId: third },
  });
  const table = await answer(["session", "list", "-l", "set=list"]);
  expect(table.split("\n")[0]).toMatch(/^ID +STATE +NAME +OWNER +CONTAINERS +CREATED +LABELS$/);
  expect(table).toMatch(/ active +three /);
});

test("session update changes what it names and leaves the rest", async () => {
  const id = await newSession("before", "--description", "kept");
  const updated = await answer([
    "session",
    "update",
    id,
    "--name",
    "after",
    "--timezone",
    "Europe/Berlin",
    "-o",
    "json",
  ]);
  expect(JSON.parse(updated)).toMatchObject({
    metadata: { name: "after", description: "kept" },
    context: { preferences: { timezone: "Europe/Berlin" } },
  });
});

test("session close says how far it is, and keeps the reason", async () => {
  const id = await newSession("short");
  expect(await answer(["session", "close", id, "--reason", "enough"])).toMatch(/State: +closed\n$/);
  expect(await answer(["session", "get", id])).toMatch(/Closed because: +enough\n/);
});

test("message send takes words, stdin and -, and message list gives them back exactly", async () => {
  const id = await newSession("talk");
  await answer(["message", "send", id, "hello", "world"]);
  await answer(["message", "send", id, "--role", "assistant"], { stdin: "two\nlines\n" });
  await answer(["message", "send", id, "-"], { stdin: "Grüße \u001b[31m" });
  const lines = (await answer(["message", "list", id, "-o", "jsonl"])).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line)).map(({ role, content }) => [role, content])).toEqual([
    ["MESSAGE_ROLE_USER", "hello world"],
    ["MESSAGE_ROLE_ASSISTANT", "two\nlines\n"],
    ["MESSAGE_ROLE_USER", "Grüße \u001b[31m"],
  ]);
  const table = await answer(["message", "list", id, "--newest-first", "--limit", "2", "--no-headers"]);
  expect(table).toMatch(/ user +Grüße \\u001b\[31m\n.* assistant +two\\nlines\\n\n$/);
});

test("message send refuses what is no text", async () => {
  const id = await newSession("bytes");
  const { exitCode, stderr } = await asked(["message", "send", id], { stdin: new Uint8Array([0xff, 0xfe]) });
  expect(stderr).toBe("error: Cannot send the message on stdin: it is not UTF-8 text\n");
  expect(exitCode).toBe(13);
});

test("event watch replays a session's story, a line an event", async () => {
  const id = await newSession("story");
  await answer(["message", "send", id, "--role", "system", "hi"]);
  await answer(["session", "close", id, "--reason", "the end"]);
  const story = await answer(["event", "watch", "--session", id, "--from-start", "--count", "3"]);
  const lines = story.trimEnd().split("\n");
  expect(lines.map((line) => line.split(/ {2,}/)[1])).toEqual([
    "session-created",
    "message-created",
    "session-closed",
  ]);
  expect(lines[2]).toContain('reason="the end"');
});

test("event watch takes several types, and ends at --until", async () => {
  const id = await newSession("types");
  await answer(["message", "send", id, "--role", "system", "hi"]);
  const args = ["event", "watch", "--session", id, "--since", "1h", "--until", "0", "-o", "jsonl"];
  const types = async (...more: string[]) =>
    (await answer([...args, ...more]))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).type);
  expect(await types()).toEqual(["EVENT_TYPE_SESSION_CREATED", "EVENT_TYPE_MESSAGE_CREATED"]);
  expect(await types("--type", "message-created,session-closed")).toEqual(["EVENT_TYPE_MESSAGE_CREATED"]);
});

test("event watch ends with 130 on Ctrl-C, and says where to go on", async () => {
  const id = await newSession("stopped");
  const watching = ["event", "watch", "--session", id, "--from-start", "-o", "jsonl"];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath };
  const child = Bun.spawn([...PROGRAM, ...watching], {
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output = child.stdout.getReader();
  const { cursor } = JSON.parse(new TextDecoder().decode((await output.read()).value));
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await new Response(child.stderr).text()).toBe(`${JSON.stringify({ resumeAfter: cursor })}\n`);

  await answer(["message", "send", id, "later"]);
  const rest = ["event", "watch", "--session", id, "--after", cursor, "-o", "jsonl", "--count", "1"];
  expect(JSON.parse(await answer(rest))).toMatchObject({ type: "EVENT_TYPE_MESSAGE_CREATED" });
});

test("a reader that has seen enough ends a command without a word", async () => {
  await newSession("head");
  const line = `${PROGRAM.join(" ")} event watch --from-start --no-headers | head -n 1; echo "\${PIPESTATUS[0]}"`;
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath };
  const { stdout, stderr } = Bun.spawnSync(["bash", "-c", line], { env, stdin: "ignore" });
  expect(stdout.toString()).toMatch(/^\S+ {2}[a-z-]+ .*\n141\n$/);
  expect(stderr.toString()).not.toContain("error");
});

test.each([
  [[], 0, "serving"],
  [["--service", "orchestrator"], 0, "serving"],
  [["--service", "proto.orchestrator.v1.containers"], 4, "not-serving"],
])("health %j ends with %d", async (args, code, word) => {
  const { exitCode, stdout } = await asked(["health", ...args]);
  expect(stdout).toMatch(new RegExp(`Status: +${word}\n$`));
  expect(exitCode).toBe(code);
});

test("health ends with 3 for a name that is not served, and with 2 without a server", async () => {
  expect((await asked(["health", "--service", "nobody"])).exitCode).toBe(3);
  expect((await asked(["health", "--grpc-socket-path", "/nonexistent/b.sock"])).exitCode).toBe(2);
});

test("status says what the server has in hand", async () => {
  const before = JSON.parse(await answer(["status", "-o", "json"]));
  await newSession("counted");
  const after = JSON.parse(await answer(["status", "-o", "json"]));
  expect(after.status.activeSessions).toBe(before.status.activeSessions + 1);
  expect(after).toMatchObject({
    address: `unix://${server.socketPath}`,
    health: { health: "HEALTH_DEGRADED" },
  });
  expect(await answer(["status"])).toMatch(/^Server: +unix:.*\nStatus: +running\nHealth: +degraded\n/);
});

test("the socket's path comes from the flag, else from GRPC_SOCKET_PATH", async () => {
  expect(await askedOutside(["status", "-q"], {})).toMatchObject({ exitCode: 0, stdout: "running\n" });
  const elsewhere = { GRPC_SOCKET_PATH: "/nonexistent/b.sock" };
  const lost = await askedOutside(["status", "-q"], elsewhere);
  expect(lost.stderr).toContain("Cannot reach baaaht at unix:///nonexistent/b.sock: no such file");
  expect(lost.exitCode).toBe(24);
  const found = await askedOutside(["status", "-q", "--grpc-socket-path", server.socketPath], elsewhere);
  expect(found).toMatchObject({ exitCode: 0, stdout: "running\n" });
});

test("config show says where each value comes from", async () => {
  const args = ["config", "show", "-o", "json", "--log-level", "debug"];
  const { exitCode, stdout, stderr } = await askedOutside(args, { BAAAHT_SHUTDOWN_TIMEOUT: "3s" });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(JSON.parse(stdout)).toContainEqual({ name: "log.level", value: "debug", source: "--log-level" });
  const fromEnvironment = { name: "shutdown-timeout", value: "3s", source: "BAAAHT_SHUTDOWN_TIMEOUT" };
  expect(JSON.parse(stdout)).toContainEqual(fromEnvironment);
});

test("config check names every mistake at once", async () => {
  expect((await askedOutside(["config", "check"], {})).stdout).toMatch(/^Configuration: +ok\n/);
  const wrong = await askedOutside(
    ["config", "check", "--log-level", "loud", "--shutdown-timeout", "soon"],
    {},
  );
  expect(wrong.stderr).toContain("--log-level: ");
  expect(wrong.stderr).toContain("--shutdown-timeout: ");
  expect(wrong.exitCode).toBe(2);
});

test("a mistake in the configuration ends with the code of wrong words, whatever the command", async () => {
  const loud = { BAAAHT_LOG_LEVEL: "loud" };
  const codeOf = async (...args: string[]) => (await askedOutside(args, loud)).exitCode;
  expect(await codeOf("session", "list")).toBe(2);
  expect(await codeOf("serve")).toBe(2);
  expect(await codeOf("config", "show")).toBe(2);
  expect(await codeOf("health")).toBe(1);
  expect(await codeOf("run", "image")).toBe(125);
});

test("serve refuses an engine's address that is none with the code of wrong words", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "baaaht-cli-"));
  const args = ["serve", "--docker-host", "unix:x", "--data-dir", dataDir];
  const { exitCode, stderr } = await askedOutside([...args, "--grpc-socket-path", join(dataDir, "s")], {});
  await rm(dataDir, { recursive: true });
  expect(stderr).toContain("unix:x");
  expect(exitCode).toBe(2);
});

test("a full disk on stdout is told in a line, and ends with 1", async () => {
  const line = `${PROGRAM.join(" ")} session list > /dev/full`;
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath };
  const { exitCode, stderr } = Bun.spawnSync(["bash", "-c", line], { env, stdin: "ignore" });
  expect(stderr.toString()).toBe("error: Cannot write to stdout: no space left on device\n");
  expect(exitCode).toBe(1);
});

test("a full disk on stdout is told as JSON too", async () => {
  const line = `${PROGRAM.join(" ")} status -o json > /dev/full`;
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath };
  const { stderr } = Bun.spawnSync(["bash", "-c", line], { env, stdin: "ignore" });
  expect(JSON.parse(stderr.toString())).toMatchObject({ error: { reason: "OUTPUT_FAILED" } });
});
