import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type CompiledServer, startCompiledServer } from "./compiled-server.ts";
import { linesOf, onPath, programs, succeed } from "./programs.ts";

const examples = join(import.meta.dir, "../../examples");

/** Go compiles gRPC the first time: a minute or two on a slow machine. */
const SET_UP_TIMEOUT_MS = 300_000;
/** An example is at work for 3 s on an idle machine. */
const RUN_TIMEOUT_MS = 60_000;

let server: CompiledServer;

beforeAll(async () => {
  server = await startCompiledServer();
}, SET_UP_TIMEOUT_MS);

afterAll(() => server[Symbol.asyncDispose]());

/** What an example prints, whatever its language: what it did, and what the log has of it. */
function shown(language: string, words: { readonly notFound: string; readonly invalid: string }): RegExp[] {
  return [
    /^health: SERVING$/m,
    /^session: SESSION_STATE_ACTIVE$/m,
    /^container: CONTAINER_STATE_RUNNING$/m,
    new RegExp(String.raw`^exec: .*hello\\nFROM ${language}\\n.*, ended with 3$`, "m"),
    /^attach: b?.one\\n., then from byte 4 b?.two\\n., ended with 5$/m,
    /^copy: news of 4 bytes, b?.two\\n.$/m,
    /^pause: CONTAINER_STATE_PAUSED, CONTAINER_STATE_RUNNING$/m,
    /^stats: [1-9]\d* processes, [1-9]\d* KiB of 262144 KiB$/m,
    new RegExp(
      `^error: ${words.notFound}: Cannot get session .*\n  reason SESSION_NOT_FOUND of baaaht$`,
      "m",
    ),
    new RegExp(`^error: ${words.invalid}: .*\n  field config.max_containers is -1; .*$`, "m"),
    /^session: SESSION_STATE_CLOSED$/m,
    // Two events a connection.
    /^watch: 14 events over 7 connections$/m,
    /^ {2}EVENT_TYPE_SESSION_CREATED by orchestrator.grpc/m,
    /^ {2}EVENT_TYPE_EXEC_FINISHED by orchestrator.grpc .*exit_code\W+3/m,
    /^ {2}EVENT_TYPE_CONTAINER_REMOVED by orchestrator.grpc/m,
    /^watch: nothing lost, nothing twice$/m,
  ];
}

test(
  "examples/go does all that a program does with a container, and a watch that resumes",
  async () => {
    const { go } = programs;
    const cwd = join(examples, "go");
    const env = onPath(go);
    await succeed([go, "generate"], { cwd, env });
    await succeed([go, "vet", "."], { cwd, env });
    const printed = await succeed([go, "run", ".", "-socket", server.socketPath, "-image", server.image], {
      cwd,
      env,
    });
    expect(printed).toMatch(/^read: session 1 of 1, "Hello, orchestrator!", CONTAINER_STATE_RUNNING$/m);
    expect(printed).toMatch(/^container: CONTAINER_STATE_EXITED$/m);
    for (const line of shown("GO", { notFound: "NotFound", invalid: "InvalidArgument" }))
      expect(printed).toMatch(line);
  },
  SET_UP_TIMEOUT_MS,
);

test(
  "examples/python does all that a program does with a container, and a watch that resumes",
  async () => {
    const { python } = programs;
    const cwd = join(examples, "python");
    await succeed(["sh", "generate.sh"], { cwd, env: { PYTHON: python } });
    const printed = await succeed(
      [python, "example.py", "--socket", server.socketPath, "--image", server.image],
      { cwd },
    );
    for (const line of shown("PYTHON", { notFound: "NOT_FOUND", invalid: "INVALID_ARGUMENT" })) {
      expect(printed).toMatch(line);
    }
  },
  RUN_TIMEOUT_MS,
);

test(
  "examples/typescript does a session, a container, an exec, a pause, a reading and a watch over the client library",
  async () => {
    const cwd = join(examples, "..");
    const printed = await succeed(
      [process.execPath, "examples/typescript/example.ts", server.socketPath, server.image],
      { cwd },
    );
    expect(printed).toStartWith('hello\nFROM TYPESCRIPT\nended: {"exited":{"code":3},');
    expect(printed).toMatch(/^processes: [1-9]\d*$/m);
    expect(printed).toContain('error: not_found Cannot get session "nobody"');
    expect(printed).toEndWith('EVENT_TYPE_SESSION_CLOSED {"reason":"the example is over"}\n');
  },
  RUN_TIMEOUT_MS,
);

test(
  "examples/python/assistant.py answers what the chats of examples/go and examples/python ask",
  async () => {
    const { go, python } = programs;
    const [inGo, inPython] = [join(examples, "go"), join(examples, "python")];
    const env = onPath(go);
    await succeed([go, "generate"], { cwd: inGo, env });
    await succeed(["sh", "generate.sh"], { cwd: inPython, env: { PYTHON: python } });
    const socket = server.socketPath;
    const assistant = Bun.spawn([python, "assistant.py", "--socket", socket], {
      cwd: inPython,
      stdout: "pipe",
      stderr: "inherit",
    });
    await using _assistant = {
      [Symbol.asyncDispose]: async () => {
        assistant.kill("SIGKILL");
        await assistant.exited;
      },
    };
    for await (const line of linesOf(assistant.stdout)) if (line === "ready") break;
    const questions = ["one two three", "and good bye"];
    const printed = "three two one \nSTREAM_STATE_COMPLETE\nbye good and \nSTREAM_STATE_COMPLETE\n";
    const asked = await succeed([python, "chat.py", "--socket", socket, ...questions], { cwd: inPython });
    expect(asked).toBe(printed);
    const goAsked = await succeed([go, "run", "./chat", "-socket", socket, ...questions], { cwd: inGo, env });
    expect(goAsked.replaceAll(/ +$/gm, "")).toBe(printed.replaceAll(/ +$/gm, ""));
  },
  SET_UP_TIMEOUT_MS,
);

test(
  "the examples leave no container behind",
  async () => {
    const { containers } = await server.client.orchestrator.listContainers({});
    expect(containers).toEqual([]);
  },
  RUN_TIMEOUT_MS,
);
