import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engine, type TestEngine } from "../engine.ts";
import { PROGRAM } from "../program.ts";
import { startServer, type TestServer } from "../server.ts";
import { baaaht, type Ended, type Started } from "./command-line.ts";

let host: TestEngine;
let server: TestServer;

beforeAll(async () => {
  host = await engine();
  server = await startServer({ dockerHost: host.dockerHost });
}, 300_000);

afterAll(async () => await server[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;

/** `run` with a session's name of its own, and that its session is closed and empty afterwards. */
async function run(name: string, args: readonly string[], started: Started = {}): Promise<Ended> {
  const env = { GRPC_SOCKET_PATH: server.socketPath };
  const ended = await baaaht(["run", "--name", name, ...args], { ...started, env });
  await expectGone(name);
  return ended;
}

async function expectGone(name: string): Promise<void> {
  const { sessions } = await server.client.orchestrator.listSessions({});
  const own = sessions.filter(({ metadata }) => metadata?.name === name);
  expect(own.map(({ state, containerIds }) => ({ state, containerIds }))).toEqual(
    own.map(() => ({ state: 5, containerIds: [] })),
  );
}

interface Running {
  readonly child: Bun.Subprocess<"ignore" | "pipe", "pipe", "pipe">;
  readonly stdout: Promise<string>;
}

/** A command that is running: it has written `ready`. */
async function started(args: readonly string[], stdin: "ignore" | "pipe"): Promise<Running> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath };
  const child = Bun.spawn([...PROGRAM, "run", ...args], { env, stdin, stdout: "pipe", stderr: "pipe" });
  const ready = Promise.withResolvers<void>();
  const stdout = (async () => {
    let text = "";
    for await (const chunk of child.stdout) {
      text += new TextDecoder().decode(chunk);
      if (text.includes("ready\n")) ready.resolve();
    }
    ready.reject(new Error(`Cannot wait for the command: it has ended after "${text}"`));
    return text;
  })();
  await ready.promise;
  return { child, stdout };
}

test(
  "run keeps stdout and stderr apart, and ends with the command's code",
  async () => {
    const script = "echo out; echo err >&2; exit 7";
    expect(await run("apart", [host.image, "sh", "-c", script])).toEqual({
      exitCode: 7,
      stdout: "out\n",
      stderr: "err\n",
    });
  },
  TIMEOUT_MS,
);

test(
  "run passes stdin to its end, bytes and all",
  async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(3_000_000));
    const expected = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
    const ended = await run("stdin", [host.image, "sha256sum"], { stdin: bytes });
    expect(ended).toEqual({ exitCode: 0, stdout: `${expected}  -\n`, stderr: "" });
  },
  TIMEOUT_MS,
);

test(
  "run gives the command its environment and folder, either way that it is run",
  async () => {
    const args = [
      "-e",
      "GREETING=hello world",
      "-w",
      "/tmp",
      host.image,
      "sh",
      "-c",
      'echo "$GREETING in $(pwd)"',
    ];
    const expected = { exitCode: 0, stdout: "hello world in /tmp\n", stderr: "" };
    expect(await run("env", args)).toEqual(expected);
    expect(await run("env", args, { stdin: "" })).toEqual(expected);
  },
  TIMEOUT_MS,
);

test.each([
  ["its own process", undefined],
  ["stdin", ""],
])(
  "run with %s kills a command whose time is over, and ends with 124",
  async (_, stdin) => {
    const ended = await run(
      "late",
      ["--timeout", "1s", host.image, "sleep", "60"],
      stdin === undefined ? {} : { stdin },
    );
    expect(ended).toEqual({
      exitCode: 124,
      stdout: "",
      stderr: "The command was killed: its 1 s were over\n",
    });
  },
  TIMEOUT_MS,
);

test(
  "run ends with 125 when the image is not to be had, and leaves nothing behind",
  async () => {
    const { exitCode, stderr } = await run("imageless", ["--pull", "never", "nowhere/nothing:1", "true"]);
    expect(stderr).toContain("nowhere/nothing:1");
    expect(exitCode).toBe(125);
  },
  TIMEOUT_MS,
);

test(
  "run has folders of the host and memory when it is told",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "baaaht-run-"));
    try {
      writeFileSync(join(folder, "words"), "from the host\n");
      symlinkSync(folder, `${folder}-link`);
      const script =
        "cat /in/words; echo x > /in/x || echo refused; echo made > /out/made; echo x > /t/x && echo written";
      const flags = ["-v", `${folder}:/in:ro`, "--mount", `type=bind,src=${folder}-link,dst=/out`];
      const ended = await run("mounts", [...flags, "--tmpfs", "/t", host.image, "sh", "-c", script]);
      expect(ended).toMatchObject({ stdout: "from the host\nrefused\nwritten\n", exitCode: 0 });
      expect(readFileSync(join(folder, "made"), "utf8")).toBe("made\n");
    } finally {
      rmSync(folder, { recursive: true });
      rmSync(`${folder}-link`);
    }
  },
  TIMEOUT_MS,
);

test(
  "run ends with 127 when there is no such command, and with 126 when it can't be run",
  async () => {
    const missing = await run("missing", [host.image, "no-such-command"]);
    expect(missing).toMatchObject({ exitCode: 127, stdout: "" });
    expect(missing.stderr).toContain("no-such-command");
    expect(await run("folder", [host.image, "/tmp"])).toMatchObject({ exitCode: 126, stdout: "" });
  },
  TIMEOUT_MS,
);

test(
  "run says what is missing when stdin has no command to go to",
  async () => {
    const { exitCode, stderr } = await run("wordless", [host.image], { stdin: "x" });
    expect(stderr).toContain("COMMAND is missing");
    expect(exitCode).toBe(125);
  },
  TIMEOUT_MS,
);

test.each(["ignore", "pipe"] as const)(
  "run passes Ctrl-C on to the command (stdin: %s)",
  async (stdin) => {
    const script = 'trap "echo caught; exit 42" INT; echo ready; while :; do sleep 0.1; done';
    const { child, stdout } = await started(
      ["--name", `int-${stdin}`, host.image, "sh", "-c", script],
      stdin,
    );
    child.kill("SIGINT");
    expect(await child.exited).toBe(42);
    expect(await stdout).toBe("ready\ncaught\n");
    await expectGone(`int-${stdin}`);
  },
  TIMEOUT_MS,
);

test.each(["ignore", "pipe"] as const)(
  "run kills with the second Ctrl-C a command that ignores the first (stdin: %s)",
  async (stdin) => {
    const script = 'trap "echo ignored" INT; echo ready; while :; do sleep 0.1; done';
    const { child, stdout } = await started(
      ["--name", `twice-${stdin}`, host.image, "sh", "-c", script],
      stdin,
    );
    child.kill("SIGINT");
    // The first one has arrived when the server has run the command that sends it, or the exec has taken it.
    await server.client.orchestrator.healthCheck({});
    child.kill("SIGINT");
    expect(await child.exited).toBeOneOf([130, 137]);
    expect(await stdout).toStartWith("ready\n");
    await expectGone(`twice-${stdin}`);
  },
  TIMEOUT_MS,
);

test(
  "run cleans up when nobody reads its output any more",
  async () => {
    const line = `${PROGRAM.join(" ")} run --name head ${host.image} yes | head -n 2; echo "\${PIPESTATUS[0]}"`;
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath };
    const child = Bun.spawn(["bash", "-c", line], { env, stdin: "ignore", stdout: "pipe" });
    expect(await new Response(child.stdout).text()).toBe("y\ny\n141\n");
    await expectGone("head");
  },
  TIMEOUT_MS,
);

test(
  "run that is killed leaves a session that ends by itself",
  async () => {
    const { child } = await started(
      ["--name", "killed", host.image, "sh", "-c", "echo ready; sleep 300"],
      "ignore",
    );
    child.kill("SIGKILL");
    await child.exited;
    const { sessions } = await server.client.orchestrator.listSessions({});
    const left = sessions.find(({ metadata }) => metadata?.name === "killed");
    expect(left?.context?.config?.idleTimeoutNs).toBe(600_000_000_000n);
    await server.client.orchestrator.closeSession({ sessionId: left?.id ?? "" }, { timeoutMs: 60_000 });
  },
  TIMEOUT_MS,
);

test(
  "run takes what has no flag from --config, and flags win over it",
  async () => {
    const config = JSON.stringify({ readOnlyRootfs: true, env: { A: "config", B: "config" } });
    const script = 'echo "$A $B"; touch /x 2>/dev/null || echo read-only';
    const ended = await run("config", ["--config", config, "-e", "B=flag", host.image, "sh", "-c", script]);
    expect(ended).toEqual({ exitCode: 0, stdout: "config flag\nread-only\n", stderr: "" });
  },
  TIMEOUT_MS,
);

test(
  "run --keep leaves session and container, and says which they are",
  async () => {
    const env = { GRPC_SOCKET_PATH: server.socketPath };
    const { exitCode, stderr } = await baaaht(["run", "--keep", host.image, "true"], { env });
    expect(exitCode).toBe(0);
    const [, sessionId = "", containerId = ""] =
      /^Kept session (\S+) with container (\S+)\n$/.exec(stderr) ?? [];
    const { container } = await server.client.orchestrator.getContainer({ containerId });
    expect(container).toMatchObject({ sessionId, exitCode: 0 });
    await server.client.orchestrator.closeSession({ sessionId });
  },
  TIMEOUT_MS,
);

test(
  "the README's way: create, exec, logs, wait, stop, remove",
  async () => {
    const env = { GRPC_SOCKET_PATH: server.socketPath };
    const answer = async (...args: string[]): Promise<string> => {
      const { exitCode, stdout, stderr } = await baaaht(args, { env });
      expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: "" });
      return stdout.trimEnd();
    };
    const session = await answer("session", "create", "-q");
    const script = "echo begun; sleep 300";
    const made = ["container", "create", "-q", "-s", session, "-l", "a=b", host.image, "sh", "-c", script];
    const box = await answer(...made);
    expect(await answer("container", "exec", box, "--", "echo", "-n", "hi")).toBe("hi");
    expect((await baaaht(["container", "exec", box, "sh", "-c", "exit 3"], { env })).exitCode).toBe(3);
    const upper = await baaaht(["container", "exec", "-i", box, "tr", "a-z", "A-Z"], {
      env,
      stdin: "loud\n",
    });
    expect(upper).toEqual({ exitCode: 0, stdout: "LOUD\n", stderr: "" });
    expect(await answer("container", "logs", box)).toBe("begun");
    expect(JSON.parse(await answer("container", "logs", box, "-o", "jsonl"))).toMatchObject({
      stream: "LOG_STREAM_STDOUT",
      text: "begun\n",
    });
    expect(await answer("container", "list", "-q", "-s", session, "--state", "running", "-l", "a=b")).toBe(
      box,
    );
    expect(JSON.parse(await answer("container", "get", box.slice(0, 34), "-o", "json"))).toMatchObject({
      sessionId: session,
      config: { command: ["sh", "-c", script], labels: { a: "b" } },
    });
    const running = await baaaht(["container", "remove", box], { env });
    expect(running.exitCode).toBe(19);
    await answer("container", "stop", box, "--grace", "0");
    expect(await answer("container", "wait", box, "-q")).toBe(box);
    expect((await baaaht(["container", "wait", box, "--exit-code"], { env })).exitCode).toBe(137);
    await answer("container", "remove", box);
    expect(await answer("container", "list", "-q", "-s", session)).toBe("");
    await answer("session", "close", session);
  },
  TIMEOUT_MS,
);
