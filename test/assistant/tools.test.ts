import { afterAll, beforeAll, expect, test } from "bun:test";
import { Sandbox, type SandboxOptions } from "../../src/assistant/sandbox.ts";
import { runTool, type ToolOutcome } from "../../src/assistant/tools.ts";
import { Failure } from "../../src/failure.ts";
import { engine } from "../engine.ts";
import { startServer, type TestServer } from "../server.ts";

let server: TestServer;
let image: string;
let sessionId: string;

beforeAll(async () => {
  const host = await engine();
  image = await host.imageOf("python");
  server = await startServer({ dockerHost: host.dockerHost });
  ({ sessionId } = await server.client.orchestrator.createSession({ metadata: { name: "tools" } }));
}, 300_000);

afterAll(async () => {
  await server.client.orchestrator.closeSession({ sessionId }, { timeoutMs: 60_000 });
  await server[Symbol.asyncDispose]();
}, 120_000);

const TIMEOUT_MS = 60_000;

function sandbox(more: Partial<SandboxOptions> = {}): Sandbox {
  return new Sandbox(server.client, {
    sessionId,
    image,
    timeoutMs: 30_000,
    maxOutputBytes: 16 * 1024,
    ...more,
  });
}

interface Calling {
  readonly sandbox?: Sandbox;
  readonly signal?: AbortSignal;
}

async function call(
  name: string,
  input: Record<string, string>,
  calling: Calling = {},
): Promise<ToolOutcome> {
  const { sandbox: where = sandbox(), signal = new AbortController().signal } = calling;
  return await runTool({ id: "c", name, input }, { sandbox: where, signal });
}

test(
  "run_command gives output and exit code, in one container for the whole session",
  async () => {
    const first = await call("run_command", { command: "pwd; echo oops >&2; echo 1 > kept; exit 3" });
    expect(first).toMatchObject({ text: "/workspace\noops\n[exit code 3]", isFailure: true });
    const second = await call("run_command", { command: "cat kept; printf x" });
    expect(second).toEqual({ text: "1\nx\n[exit code 0]", isFailure: false, containerId: first.containerId });
    const { containers } = await server.client.orchestrator.listContainers({ filter: { sessionId } });
    expect(containers.map(({ id }) => id)).toEqual([first.containerId]);
  },
  TIMEOUT_MS,
);

test(
  "run_python runs a program of any length",
  async () => {
    const code = `print(6 * 7)\n# ${"x".repeat(200_000)}\nraise SystemExit(2)`;
    expect((await call("run_python", { code })).text).toBe("42\n[exit code 2]");
  },
  TIMEOUT_MS,
);

test(
  "write_file, read_file and list_files do so, whatever the name looks like",
  async () => {
    const path = "a folder/-rf $(id) 'x'.txt";
    expect((await call("write_file", { path, content: "täxt\n" })).text).toBe("Wrote 6 bytes.");
    expect((await call("read_file", { path })).text).toBe("täxt\n");
    expect((await call("list_files", { path: "a folder" })).text).toContain("-rf $(id) 'x'.txt");
    const missing = await call("read_file", { path: "none" });
    expect(missing.isFailure).toBe(true);
    expect(missing.text).toContain("No such file");
  },
  TIMEOUT_MS,
);

test(
  "a tool's output is cut at its bound, and says so",
  async () => {
    const small = sandbox({ maxOutputBytes: 1_000 });
    const { text } = await call("run_command", { command: "seq 1 100000" }, { sandbox: small });
    expect(text).toStartWith("1\n2\n3\n");
    expect(text).toEndWith("[output cut here: 1000 of 588895 bytes]\n[exit code 0]");
    expect(text.length).toBeLessThan(1_100);
  },
  TIMEOUT_MS,
);

test(
  "a tool that takes too long is killed, and says so",
  async () => {
    const hasty = sandbox({ timeoutMs: 200 });
    const { text, isFailure } = await call(
      "run_command",
      { command: "echo on; sleep 60" },
      { sandbox: hasty },
    );
    // A busy machine may not even come to its first word.
    expect(text).toMatch(/^(on\n)?\[killed: its 0\.2 s were over\]$/);
    expect(isFailure).toBe(true);
  },
  TIMEOUT_MS,
);

test(
  "a tool that is given up ends in the container too",
  async () => {
    const stop = new AbortController();
    await call("run_command", { command: "rm -f gone; mkfifo fifo" });
    const running = call("run_command", { command: "echo > fifo; sleep 600" }, { signal: stop.signal });
    // It has begun when it has written to the pipe.
    await call("run_command", { command: "cat fifo" });
    stop.abort(new Failure("cancelled", "enough"));
    expect(running).rejects.toThrow("enough");
    // It is there or not, and is not to be waited for by its name: the pattern is not in this command's own words.
    const left = await call("run_command", {
      command: "while ps -o args | grep -q 's[l]eep 600'; do sleep 0.05; done; echo ended",
    });
    expect(left.text).toBe("ended\n[exit code 0]");
  },
  TIMEOUT_MS,
);

test(
  "a sandbox that has ended is made anew",
  async () => {
    const { containerId } = await call("run_command", { command: "true" });
    await server.client.orchestrator.stopContainer({ containerId, timeoutNs: 1n }, { timeoutMs: 30_000 });
    const again = await call("run_command", { command: "echo back" });
    expect(again.text).toBe("back\n[exit code 0]");
    expect(again.containerId).not.toBe(containerId);
  },
  TIMEOUT_MS,
);

test(
  "what the session does not allow is told, and is no defect",
  async () => {
    const { sessionId: strict } = await server.client.orchestrator.createSession({
      config: { allowedImages: ["busybox:none"] },
    });
    const outcome = await call(
      "run_command",
      { command: "true" },
      { sandbox: sandbox({ sessionId: strict }) },
    );
    expect(outcome.isFailure).toBe(true);
    expect(outcome.text).toContain("the session allows busybox:none");
    await server.client.orchestrator.closeSession({ sessionId: strict });
    const closed = await call(
      "run_command",
      { command: "true" },
      { sandbox: sandbox({ sessionId: strict }) },
    );
    expect(closed.text).toContain("closed");
  },
  TIMEOUT_MS,
);

test(
  "a sandbox that waits for approval says so",
  async () => {
    const { sessionId: careful } = await server.client.orchestrator.createSession({
      config: { policy: { requireApproval: true } },
    });
    const calling = { sandbox: sandbox({ sessionId: careful }) };
    const first = await call("run_command", { command: "true" }, calling);
    expect(first.text).toMatch(/^Cannot use the sandbox .* does not run/);
    expect(first.text).toContain("approv");
    // It is not asked for again and again.
    await call("run_command", { command: "true" }, calling);
    const { containers } = await server.client.orchestrator.listContainers({
      filter: { sessionId: careful },
    });
    expect(containers.length).toBe(1);
    await server.client.orchestrator.closeSession({ sessionId: careful }, { timeoutMs: 60_000 });
  },
  TIMEOUT_MS,
);
