import { afterAll, beforeAll, expect, test } from "bun:test";
import { engine, type TestEngine } from "../engine.ts";
import { startServer, type TestServer } from "../server.ts";
import { baaaht, PROGRAM } from "./command-line.ts";

let host: TestEngine;
let server: TestServer;

beforeAll(async () => {
  host = await engine();
  server = await startServer({ dockerHost: host.dockerHost });
}, 300_000);

afterAll(async () => await server[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;

/** Less than the test's own time, so that a failure says what the terminal shows, and leaves the other tests their server. */
const SHOWN_WITHIN_MS = 25_000;

/** Shows whether the terminal is one that lines are edited on (`icanon`) and that shows what is typed (`echo`). */
const MODES = "stty -a | grep -o -e '-\\?icanon' -e '-\\?echo '";

/** A shell of this host on a terminal of 90 x 30, of which one can wait for what it shows. */
class Terminal implements AsyncDisposable {
  #shown = "";
  #wake: (() => void) | undefined;
  readonly #shell: Bun.Subprocess;

  constructor() {
    this.#shell = Bun.spawn(["bash", "--norc", "--noprofile"], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath, PS1: "" },
      terminal: {
        cols: 90,
        rows: 30,
        data: (_, data) => {
          this.#shown += Buffer.from(data).toString();
          this.#wake?.();
        },
      },
    });
  }

  type(text: string): void {
    this.#shell.terminal?.write(text);
  }

  resize(columns: number, rows: number): void {
    this.#shell.terminal?.resize(columns, rows);
  }

  /** Waits until this is shown behind what was waited for before; throws with what is there when it does not come. */
  async shows(pattern: RegExp): Promise<string> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new Error(`Cannot see ${pattern} in ${JSON.stringify(this.#shown)}`)),
      SHOWN_WITHIN_MS,
    );
    try {
      return await this.#shows(pattern, late.promise);
    } finally {
      clearTimeout(timer);
    }
  }

  async #shows(pattern: RegExp, late: Promise<never>): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.#shown);
      if (found !== null) {
        this.#shown = this.#shown.slice(found.index + found[0].length);
        return found[0];
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await Promise.race([promise, late]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell.kill("SIGKILL");
    await this.#shell.exited;
    this.#shell.terminal?.close();
  }
}

test(
  "run -it gives the command this terminal: its size, its changes, Ctrl-C, and its end",
  async () => {
    await using terminal = new Terminal();
    terminal.type(`${MODES}\r`);
    await terminal.shows(/\r\nicanon\r\necho/);
    // What follows the command is typed before it runs: while it does, every key is its own.
    terminal.type(`${PROGRAM.join(" ")} run -it ${host.image} sh; echo code $?; ${MODES}\r`);
    await terminal.shows(/# /);
    terminal.type("stty size\r");
    await terminal.shows(/\n30 90\r/);
    terminal.resize(120, 40);
    terminal.type("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.1; done; echo re''sized\r");
    await terminal.shows(/resized\r/);
    // It is the command itself that says that it has begun: a Ctrl-C that comes while the shell is about to start one may
    // pass by both of them.
    terminal.type("sh -c 'echo be\"\"gun; exec sleep 600'; echo un''reached\r");
    await terminal.shows(/begun\r/);
    terminal.type("\u0003");
    terminal.type("echo go''es on\r");
    expect(await terminal.shows(/goes on\r/)).not.toContain("unreached");
    terminal.type("exit 9\r");
    // The terminal is as it was: lines are edited, and keys shown.
    await terminal.shows(/\ncode 9\r\nicanon\r\necho/);
  },
  TIMEOUT_MS,
);

test(
  "container exec -t puts the terminal back when the container is removed under it",
  async () => {
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({});
    const config = { image: host.image, command: ["sleep", "600"] };
    const { containerId } = await orchestrator.createContainer({ sessionId, config });
    await using terminal = new Terminal();
    terminal.type(`${PROGRAM.join(" ")} container exec -it ${containerId} sh; echo code $?; ${MODES}\r`);
    await terminal.shows(/# /);
    await orchestrator.removeContainer({ containerId, force: true });
    await terminal.shows(/code 1\d\d\r\nicanon\r\necho/);
    await orchestrator.closeSession({ sessionId });
  },
  TIMEOUT_MS,
);

test(
  "run -t without a terminal says so, and leaves nothing behind",
  async () => {
    const env = { GRPC_SOCKET_PATH: server.socketPath };
    const { exitCode, stderr } = await baaaht(["run", "--name", "no-tty", "-t", host.image, "sh"], { env });
    expect(stderr).toContain("Cannot give the command a terminal");
    expect(exitCode).toBe(125);
    const { sessions } = await server.client.orchestrator.listSessions({ filter: { state: 2 } });
    expect(sessions.map(({ metadata }) => metadata?.name)).not.toContain("no-tty");
  },
  TIMEOUT_MS,
);
