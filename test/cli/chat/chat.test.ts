import { afterAll, beforeAll, expect, test } from "bun:test";
import { EventType, MessageRole } from "../../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engine } from "../../engine.ts";
import { PROGRAM } from "../../program.ts";
import { startServer, type TestServer } from "../../server.ts";
import { Terminal } from "../terminal.ts";

const TIMEOUT_MS = 60_000;

/** Where one can type. */
const PROMPT = /> \r\S\[2C$/;

let dockerHost: string;
let server: TestServer;

beforeAll(async () => {
  const host = await engine();
  ({ dockerHost } = host);
  server = await startServer({
    dockerHost,
    flags: ["--assistant"],
    env: { BAAAHT_ASSISTANT_IMAGE: host.image },
  });
  await server.logged("assistant: ready as agent");
}, 300_000);

afterAll(async () => {
  // What was kept to go on with later, and the containers in it.
  const { orchestrator } = server.client;
  const { sessions } = await orchestrator.listSessions({});
  for (const { id, closedAt } of sessions)
    if (closedAt === undefined) await orchestrator.closeSession({ sessionId: id }, { timeoutMs: 60_000 });
  await server[Symbol.asyncDispose]();
}, 120_000);

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `baaaht chat` without a terminal. */
async function chat(args: readonly string[], input?: string, socketPath = server.socketPath): Promise<Ended> {
  const child = Bun.spawn([...PROGRAM, "chat", ...args], {
    env: { PATH: process.env.PATH, GRPC_SOCKET_PATH: socketPath },
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { exitCode, stdout, stderr };
}

test(
  "chat is a filter without a terminal: a question in, an answer out, and nothing left",
  async () => {
    const { orchestrator } = server.client;
    expect(await chat(["hello", "world"])).toEqual({ exitCode: 0, stdout: "hello world\n", stderr: "" });
    expect(await chat(["about this:"], "line\nline\n")).toMatchObject({
      stdout: "about this:\n\nline\nline\n",
    });
    const { sessions } = await orchestrator.listSessions({});
    expect(sessions.filter(({ closedAt }) => closedAt === undefined)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "chat says why there is no answer, with an exit code",
  async () => {
    expect(await chat(["!fail out of ideas"])).toEqual({
      exitCode: 12,
      stdout: "",
      stderr: "error: Cannot have an answer: out of ideas\n",
    });
    const { exitCode, stderr } = await chat([]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("MESSAGE is missing")]);
  },
  TIMEOUT_MS,
);

test(
  "chat says that there is no assistant",
  async () => {
    await using alone = await startServer();
    const { exitCode, stdout, stderr } = await chat(["hello"], undefined, alone.socketPath);
    expect([exitCode, stdout]).toEqual([24, ""]);
    expect(stderr).toContain("no assistant");
  },
  TIMEOUT_MS,
);

test(
  "chat runs code in the sandbox, and shows the tools",
  async () => {
    const { stdout, stderr, exitCode } = await chat(["--tools", "!run echo 6 times 7 is $((6 * 7)); exit 3"]);
    expect(stdout).toBe("`run_command` says:\n\n```\n6 times 7 is 42\n[exit code 3]\n```\n");
    expect(stderr).toBe(
      "▸ run_command echo 6 times 7 is $((6 * 7)); exit 3\n  │ 6 times 7 is 42\n  │ [exit code 3]\n  ✗\n",
    );
    expect(exitCode).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  "chat goes on with a session that another program has opened, whose answers come whole",
  async () => {
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({ metadata: { name: "plain" } });
    const asked = await chat(["--session", "plain", "hello there"]);
    expect(asked).toEqual({ exitCode: 0, stdout: "hello there\n", stderr: "" });
    expect((await chat(["--session", "plain", "!fail no idea"])).exitCode).toBe(12);
    const { messages } = await orchestrator.listMessages({ sessionId });
    expect(messages.map(({ content }) => content)).toEqual(["hello there", "hello there", "!fail no idea"]);
    await orchestrator.closeSession({ sessionId });
    const closed = await chat(["--session", sessionId, "hello"]);
    expect([closed.exitCode, closed.stderr]).toEqual([19, expect.stringContaining("closed")]);
  },
  TIMEOUT_MS,
);

test(
  "chat on a terminal streams, folds tools, edits, goes back, cancels, and leaves with two Ctrl-C",
  async () => {
    await using terminal = new Terminal(server.socketPath);
    terminal.type(`${PROGRAM.join(" ")} chat; echo code $?\r`);
    await terminal.shows(PROMPT);
    terminal.type("hello **wide** world\r");
    await terminal.shows(/hello \S\[1mwide\S\[22m world\r\n/);
    terminal.type("!run echo one; echo two\r");
    await terminal.shows(/▸ run_command echo one; echo two/);
    await terminal.shows(/✓.*exit code 0\], 3 lines; Ctrl-O shows them/);
    await terminal.shows(PROMPT);
    terminal.type("\u000f");
    await terminal.shows(/│\S* one\r\n.*│\S* two\r\n/);
    terminal.type("first line\\\rsecnd\u001b[D\u001b[Do\r");
    await terminal.shows(/first line\r\nsecond\r\n\r\n/);
    terminal.type("!wait 1d\r");
    await terminal.shows(/!wait 1d\r\S+\r\n$/);
    terminal.type("\u0003");
    await terminal.shows(/\(cancelled\)/);
    await terminal.shows(PROMPT);
    terminal.type("\u001b[A\u001b[A");
    await terminal.shows(/first line\r\n {2}second/);
    terminal.type("\u0003");
    await terminal.shows(/Ctrl-C again leaves/);
    terminal.type("\u0003");
    const left = await terminal.shows(/To go on: baaaht chat --session \S+\r\ncode 0/);
    const session = /--session (\S+)/.exec(left)?.[1] ?? "";
    terminal.type(`${PROGRAM.join(" ")} chat --session ${session}; stty -a | grep -o -e '-\\?echo '\r`);
    await terminal.shows(/first line\r\n {2}second\r\n/);
    await terminal.shows(PROMPT);
    terminal.type("/quit\r");
    await terminal.shows(/\r\necho/);
  },
  TIMEOUT_MS,
);

test(
  "chat goes on over a server that was killed, and has the answer once",
  async () => {
    const first = await startServer({ flags: ["--assistant"] });
    await first.logged("assistant: ready as agent");
    const asking = chat(["--keep", "!wait 2s"], undefined, first.socketPath);
    // Its turn has begun.
    await using events = first.client.orchestrator.subscribeEvents({
      filter: { types: [EventType.TURN_STARTED] },
      fromStart: true,
    });
    for await (const _ of events) break;
    await first.kill();
    const { dataDir, socketPath } = first;
    await using again = await startServer({ dataDir, socketPath, flags: ["--assistant"] });
    const { stdout, exitCode } = await asking;
    expect([stdout, exitCode]).toEqual(["!wait 2s\n", 0]);
    const { sessions } = await again.client.orchestrator.listSessions({});
    const { messages } = await again.client.orchestrator.listMessages({ sessionId: sessions[0]?.id ?? "" });
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      [MessageRole.USER, "!wait 2s"],
      [MessageRole.ASSISTANT, "!wait 2s"],
    ]);
    await first[Symbol.asyncDispose]();
  },
  TIMEOUT_MS,
);
