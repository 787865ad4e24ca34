import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engine } from "../engine.ts";
import { PROGRAM } from "../program.ts";
import { startServer, type TestServer } from "../server.ts";
import { startWorkerProcess, type WorkerProcess } from "../worker/worker-process.ts";
import { baaaht } from "./command-line.ts";

const TIMEOUT_MS = 60_000;

let server: TestServer;
let worker: WorkerProcess;
let folder: string;

beforeAll(async () => {
  const { dockerHost, image } = await engine();
  server = await startServer({ dockerHost });
  worker = await startWorkerProcess(server, { image });
  folder = await mkdtemp(join(tmpdir(), "baaaht-task-"));
}, 300_000);

afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function typed(args: readonly string[], stdin?: string) {
  const env = { GRPC_SOCKET_PATH: server.socketPath };
  return await baaaht(args, stdin === undefined ? { env } : { env, stdin });
}

test(
  "task run passes stdin, stdout, stderr and the exit code",
  async () => {
    const ran = await typed(
      ["task", "run", "--", "sh", "-c", "tr a-z A-Z; echo careful >&2; exit 3"],
      "some words\n",
    );
    expect(ran).toEqual({ exitCode: 3, stdout: "SOME WORDS\n", stderr: "careful\n" });
  },
  TIMEOUT_MS,
);

test(
  "task run takes a program from a flag, from a file and from stdin, with words",
  async () => {
    const code = 'echo "$1 and $WHO"';
    const flags = ["--language", "sh", "-e", "WHO=me"];
    const you = { exitCode: 0, stdout: "you and me\n", stderr: "" };
    expect(await typed(["task", "run", ...flags, "--code", code, "--", "you"])).toEqual(you);
    await Bun.write(join(folder, "p.sh"), code);
    expect(await typed(["task", "run", ...flags, "--script", join(folder, "p.sh"), "you"])).toEqual(you);
    expect(await typed(["task", "run", ...flags], code)).toEqual({ ...you, stdout: " and me\n" });
  },
  TIMEOUT_MS,
);

test(
  "task run says what it lacks, why a task failed, and that its time was over",
  async () => {
    const nothing = await typed(["task", "run"]);
    expect([nothing.exitCode, nothing.stderr]).toEqual([
      125,
      expect.stringContaining("COMMAND, --code or --script"),
    ]);
    const failed = await typed(["task", "run", "--image", "nowhere/nothing:9", "true"]);
    expect([failed.exitCode, failed.stderr]).toEqual([125, expect.stringContaining('"nowhere/nothing:9"')]);
    const late = await typed(["task", "run", "--timeout", "200ms", "sleep", "300"]);
    expect(late.exitCode).toBe(124);
    const denied = await typed(["task", "run", "--deny", "execute", "true"]);
    expect([denied.exitCode, denied.stderr]).toEqual([125, expect.stringContaining("denied_operations")]);
    expect((await typed(["task", "run", "--", "no-such-program"])).exitCode).toBe(127);
  },
  TIMEOUT_MS,
);

test(
  "task run cancels its task by Ctrl-C, and ends as a program that was",
  async () => {
    const child = Bun.spawn(
      [...PROGRAM, "task", "run", "-n", "stopped", "--", "sh", "-c", "echo begun; exec sleep 300"],
      {
        env: { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    for await (const bytes of child.stdout) {
      expect(new TextDecoder().decode(bytes)).toBe("begun\n");
      child.kill("SIGINT");
    }
    expect(await child.exited).toBe(130);
    const got = await typed(["task", "get", "stopped", "-o", "json"]);
    expect(JSON.parse(got.stdout)).toMatchObject({
      state: "TASK_STATE_CANCELLED",
      error: { code: "CANCELLED" },
    });
  },
  TIMEOUT_MS,
);

test(
  "task create leaves a task, task watch shows all of it with its code, task list and get show how it ended",
  async () => {
    const created = await typed([
      "task",
      "create",
      "-q",
      "-n",
      "left",
      "--",
      "sh",
      "-c",
      "cat; echo out; exit 5",
    ]);
    const id = created.stdout.trim();
    expect([created.exitCode, created.stderr, id.length]).toEqual([0, "", 36]);
    const shown = { exitCode: 5, stdout: "out\n", stderr: "" };
    expect(await typed(["task", "watch", id])).toEqual(shown);
    expect(await typed(["task", "watch", "left"])).toEqual(shown);
    const listed = await typed(["task", "list", "--state", "completed", "--type", "code-execution"]);
    expect(listed.stdout).toMatch(
      new RegExp(`^${id}  completed  5 .*  sh -c|^${id}  completed  5 .*  left$`, "m"),
    );
    const got = await typed(["task", "get", id.slice(0, 34), "-o", "json"]);
    expect(JSON.parse(got.stdout)).toMatchObject({ id, result: { exitCode: 5, outputText: "out\n" } });
    expect((await typed(["task", "get", "left"])).stdout).toMatch(/^Output: +4 bytes, 4 of them kept$/m);
    const frames = await typed(["task", "watch", id, "-o", "jsonl"]);
    expect(
      frames.stdout
        .trim()
        .split("\n")
        .map((line) => Object.keys(JSON.parse(line))[0]),
    ).toContain("complete");
  },
  TIMEOUT_MS,
);

test(
  "task cancel gives up a task that waits and one that runs, and says of one that has ended that it had",
  async () => {
    const waiting = await typed(["task", "create", "-q", "--type", "custom", "--", "nobody"]);
    const cancelled = await typed([
      "task",
      "cancel",
      waiting.stdout.trim(),
      "-r",
      "nobody can",
      "-o",
      "json",
    ]);
    expect(JSON.parse(cancelled.stdout)).toMatchObject({ state: "TASK_STATE_CANCELLED", cancelled: true });
    const again = await typed(["task", "get", waiting.stdout.trim()]);
    expect(again.stdout).toMatch(/nobody can/);
    const done = await typed(["task", "run", "-n", "done", "true"]);
    expect(done.exitCode).toBe(0);
    expect((await typed(["task", "cancel", "done"])).stdout).toMatch(/^Cancelled: +no, it had ended$/m);
    const unnamed = await typed(["task", "create", "-q", "--type", "custom", "--", "nobody"]);
    const without = await typed(["task", "cancel", unnamed.stdout.trim()]);
    expect(without.stdout).toMatch(/^State: +cancelled\nCancelled: +yes$/m);
    expect((await typed(["task", "watch", unnamed.stdout.trim()])).stderr).toContain(
      "error: The task was cancelled (no reason given)",
    );
    const running = await typed([
      "task",
      "create",
      "-q",
      "-n",
      "running",
      "--",
      "sh",
      "-c",
      "trap '' TERM; read x",
    ]);
    const tasks = server.client.orchestrator.subscribeEvents({
      fromStart: true,
      filter: { taskId: running.stdout.trim() },
    });
    for await (const { data } of tasks) if (data.state === "running") break;
    expect((await typed(["task", "cancel", "running"])).stdout).toMatch(
      /^State: +running\nCancelled: +asked for; its worker is giving it up$/m,
    );
  },
  TIMEOUT_MS,
);
