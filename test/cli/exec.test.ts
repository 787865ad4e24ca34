import { afterAll, beforeAll, expect, test } from "bun:test";
import { ExecState } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engine } from "../engine.ts";
import { PROGRAM } from "../program.ts";
import { startServer, type TestServer } from "../server.ts";
import { baaaht } from "./command-line.ts";

let server: TestServer;
let sessionId = "";
let containerId = "";

beforeAll(async () => {
  const host = await engine();
  server = await startServer({ dockerHost: host.dockerHost });
  const { orchestrator } = server.client;
  ({ sessionId } = await orchestrator.createSession({ metadata: { name: "execs" } }));
  const config = { image: host.image, command: ["sleep", "600"] };
  ({ containerId } = await orchestrator.createContainer({ sessionId, config }, { timeoutMs: 30_000 }));
}, 300_000);

afterAll(async () => {
  await server.client.orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 });
  await server[Symbol.asyncDispose]();
});

const TIMEOUT_MS = 60_000;

async function typed(args: readonly string[], stdin?: string) {
  const env = { GRPC_SOCKET_PATH: server.socketPath };
  return await baaaht(args, stdin === undefined ? { env } : { env, stdin });
}

test(
  "container exec -d leaves a command, exec list and get show it, exec attach reads it, with its code",
  async () => {
    const started = await typed([
      "container",
      "exec",
      "-dq",
      containerId,
      "--",
      "sh",
      "-c",
      "echo said; exit 5",
    ]);
    const id = started.stdout.trim();
    expect([started.exitCode, started.stderr, id.length]).toEqual([0, "", 36]);
    const read = await typed(["exec", "attach", id]);
    expect(read).toEqual({ exitCode: 5, stdout: "said\n", stderr: "" });
    expect(await typed(["exec", "attach", "--offset", "2", id])).toMatchObject({
      exitCode: 5,
      stdout: "id\n",
    });
    const listed = await typed(["exec", "list", "--session", "execs", "--state", "ended"]);
    expect(listed.stdout).toMatch(
      new RegExp(`^ID .*\\n(.*\\n)*${id}  ended  5    ${containerId}  .*  sh -c echo said; exit 5`),
    );
    const got = await typed(["exec", "get", id.slice(0, 30), "-o", "json"]);
    expect(JSON.parse(got.stdout)).toMatchObject({
      id,
      state: "EXEC_STATE_ENDED",
      end: { exited: { code: 5 } },
      outputBytes: "5",
    });
    expect((await typed(["exec", "get", id])).stdout).toMatch(/End: +5\n/);
  },
  TIMEOUT_MS,
);

test(
  "exec attach passes a pipe on to its end",
  async () => {
    const { orchestrator } = server.client;
    const frames = (async function* () {
      const start = { containerId, command: ["cat"], stdin: true, detachOnDisconnect: true };
      yield { payload: { case: "start" as const, value: start } };
      await new Promise(() => {});
    })();
    const leaving = new AbortController();
    let execId = "";
    for await (const { payload } of orchestrator.execContainer(frames, { signal: leaving.signal })) {
      if (payload.case === "started") execId = payload.value.execId;
      break;
    }
    leaving.abort();
    expect(await typed(["exec", "attach", execId], "piped\n")).toEqual({
      exitCode: 0,
      stdout: "piped\n",
      stderr: "",
    });
  },
  TIMEOUT_MS,
);

test(
  "exec kill ends commands, and tells of those that have ended",
  async () => {
    const start = ["container", "exec", "-dq", containerId, "--", "sleep", "500"];
    const ids = [(await typed(start)).stdout.trim(), (await typed(start)).stdout.trim()];
    const killed = await typed(["exec", "kill", "-q", ...ids]);
    expect(killed).toEqual({ exitCode: 0, stdout: `${ids.join("\n")}\n`, stderr: "" });
    expect(await typed(["exec", "attach", ids[0] ?? ""])).toMatchObject({ exitCode: 137 });
    const { exec } = await server.client.orchestrator.getExec({ execId: ids[0] ?? "" });
    expect(exec).toMatchObject({
      state: ExecState.ENDED,
      end: { how: { case: "signalled", value: { number: 9 } } },
    });
    const again = await typed(["exec", "kill", "--signal", "TERM", ids[0] ?? ""]);
    expect([again.exitCode, again.stderr]).toEqual([19, expect.stringContaining("it has ended")]);
    expect((await typed(["exec", "kill", "--signal", "NONE", ids[0] ?? ""])).exitCode).toBe(19);
    expect((await typed(["exec", "get", "0000"])).exitCode).toBe(15);
  },
  TIMEOUT_MS,
);

test(
  "a signal to exec attach leaves the command alone, and says so",
  async () => {
    const endless = ["sh", "-c", "echo on; while :; do sleep 0.05; done"];
    const id = (await typed(["container", "exec", "-dq", containerId, "--", ...endless])).stdout.trim();
    const child = Bun.spawn([...PROGRAM, "exec", "attach", id], {
      env: { PATH: process.env.PATH, GRPC_SOCKET_PATH: server.socketPath },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    for await (const chunk of child.stdout) {
      expect(Buffer.from(chunk).toString()).toBe("on\n");
      break;
    }
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(await new Response(child.stderr).text()).toContain(`exec attach ${id}\n`);
    const { exec } = await server.client.orchestrator.getExec({ execId: id });
    expect(exec?.state).toBe(ExecState.RUNNING);
    await typed(["exec", "kill", id]);
  },
  TIMEOUT_MS,
);

test(
  "run -d prints its container, which runs on",
  async () => {
    const { dockerHost: _, image } = await engine();
    const done = await typed(["run", "-dq", "--name", "detached", image, "sh", "-c", "echo on; sleep 500"]);
    const id = done.stdout.trim();
    expect([done.exitCode, id.length, done.stderr]).toEqual([0, 36, expect.stringContaining("Kept session")]);
    const { container } = await server.client.orchestrator.getContainer({ containerId: id });
    expect(container?.state).toBe(2);
    await server.client.orchestrator.closeSession(
      { sessionId: container?.sessionId ?? "" },
      { timeoutMs: 30_000 },
    );
  },
  TIMEOUT_MS,
);

test.each([
  [["container", "exec", "-d", "-i", "c", "sh"], "--detach can't be had together with --interactive"],
  [
    ["container", "exec", "--detach-keys", "ctrl-1", "c", "sh"],
    "--detach-keys has to be keys such as ctrl-p,ctrl-q",
  ],
  [["run", "-d", "-t", "image", "sh"], "--detach can't be had together with"],
  [["run", "-d", "--timeout", "5s", "image", "sh"], "--detach can't be had together with --timeout"],
])("%p is refused", async (args, words) => {
  const { exitCode, stderr } = await typed(args);
  expect(stderr).toContain(words);
  expect([2, 125]).toContain(exitCode);
});

test(
  "container exec -it without a terminal says so, and -t alone gives one",
  async () => {
    const refused = await typed(["container", "exec", "-it", containerId, "sh"], "echo no\n");
    expect(refused.exitCode).toBe(125);
    expect(refused.stderr).toContain("Cannot give the command a terminal: stdin is none; leave out --tty");
    const alone = await typed(["container", "exec", "-t", containerId, "sh", "-c", "test -t 1 && echo one"]);
    expect(alone).toEqual({ exitCode: 0, stdout: "one\r\n", stderr: "" });
  },
  TIMEOUT_MS,
);

test(
  "container exec ends with 127 for a command that is not there, and 126 for one that can't be run",
  async () => {
    const missing = await typed(["container", "exec", containerId, "nothing-of-this-name"]);
    expect([missing.exitCode, missing.stderr]).toEqual([
      127,
      expect.stringContaining("nothing-of-this-name"),
    ]);
    expect((await typed(["container", "exec", containerId, "/etc/passwd"])).exitCode).toBe(126);
  },
  TIMEOUT_MS,
);
