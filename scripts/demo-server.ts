import { openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { ROOT } from "./check-step.ts";
import { callEngine } from "./engine-api.ts";
import { duration, toStdout as say } from "./progress.ts";
import { type CommandResult, runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

const BINARY = join(ROOT, "dist", "baaaht");
const START_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 15_000;
const CLEAN_UP_TIMEOUT_MS = 20_000;
/** How long a watch may say nothing before the demo takes it to have said all. */
const IDLE_MS = 1_000;

export interface DemoServerOptions {
  /** A fresh folder: for the data, the socket and the server's log. */
  readonly folder: string;
  readonly dockerHost: string;
  /** What the assistant's tools run in. */
  readonly image: string;
  readonly signal: AbortSignal;
}

/** A compiled server with its own data and socket, and its command line. Disposing leaves nothing of it behind. */
export class DemoServer implements AsyncDisposable {
  readonly #options: DemoServerOptions;
  readonly #process: Subprocess;
  readonly #sessions: string[] = [];

  private constructor(options: DemoServerOptions, process: Subprocess) {
    this.#options = options;
    this.#process = process;
  }

  static async start(options: DemoServerOptions): Promise<DemoServer> {
    const { folder, dockerHost, image } = options;
    const words = [
      "--grpc-socket-path",
      socketIn(folder),
      "--data-dir",
      join(folder, "data"),
      "--docker-host",
      dockerHost,
      "--assistant",
    ];
    say(`\n$ baaaht serve ${words.join(" ")} &`);
    const log = openSync(logIn(folder), "a");
    const child = Bun.spawn([BINARY, "serve", ...words], {
      stdin: "ignore",
      stdout: log,
      stderr: log,
      cwd: folder,
      env: { ...process.env, BAAAHT_ASSISTANT_IMAGE: image },
    });
    const server = new DemoServer(options, child);
    try {
      await server.#ready();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a command of baaaht, showing it and what it prints as it prints it. */
  async show(...args: readonly string[]): Promise<CommandResult> {
    say(`$ baaaht ${args.map(quoted).join(" ")}`);
    const done = await this.#run(args, this.#options.signal, (line) => say(`  ${line}`));
    this.#options.signal.throwIfAborted();
    if (done.exitCode !== 0) say(`  (exit code ${done.exitCode})`);
    return done;
  }

  /** As show, for a command that must give an id. */
  async id(...args: readonly string[]): Promise<string> {
    const at = args.indexOf("--");
    const words = at < 0 ? [...args, "--quiet"] : [...args.slice(0, at), "--quiet", ...args.slice(at)];
    const done = await this.show(...words);
    if (done.exitCode !== 0) throw new SetUpError(`Cannot go on: baaaht ${args[0]} ${args[1]} failed`);
    return done.stdout.trim();
  }

  async createSession(name: string): Promise<string> {
    const session = await this.id("session", "create", "--name", name);
    this.#sessions.push(session);
    return session;
  }

  /** A question and its answer, in a new session of this name. */
  async chat(name: string, question: string): Promise<void> {
    const done = await this.show("chat", "--keep", "--name", name, question);
    if (done.exitCode !== 0) throw new SetUpError("Cannot go on: baaaht chat failed");
    const listed = await this.#run(["session", "list", "--quiet"], this.#options.signal);
    this.#sessions.push(
      ...listed.stdout.split("\n").filter((id) => id !== "" && !this.#sessions.includes(id)),
    );
  }

  /** As show, for a watch: ends it when it has said nothing for a moment. */
  async showUntilIdle(...args: readonly string[]): Promise<void> {
    say(`$ baaaht ${args.map(quoted).join(" ")}`);
    const idle = new AbortController();
    const end = (): void => idle.abort();
    let timer = setTimeout(end, IDLE_MS + START_TIMEOUT_MS);
    const onLine = (line: string): void => {
      say(`  ${line}`);
      clearTimeout(timer);
      timer = setTimeout(end, IDLE_MS);
    };
    await this.#run(args, AbortSignal.any([idle.signal, this.#options.signal]), onLine);
    clearTimeout(timer);
    this.#options.signal.throwIfAborted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const limit = AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS);
    if (this.#process.exitCode === null) {
      for (const session of this.#sessions) await this.#run(["session", "close", session], limit);
    }
    this.#process.kill("SIGTERM");
    const killer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#process.exited;
    clearTimeout(killer);
    for (const session of this.#sessions) await this.#removeContainers(session);
  }

  async #ready(): Promise<void> {
    const begin = performance.now();
    const { signal, folder } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const health = await this.#run(["health"], signal);
      const isAnswering = readFileSync(logIn(folder), "utf8").includes("assistant: ready");
      if (health.exitCode === 0 && isAnswering) break;
      const ended = this.#process.exitCode !== null;
      if (ended || performance.now() - begin > START_TIMEOUT_MS) {
        const how = ended ? `ended with ${this.#process.exitCode}` : "did not get ready";
        throw new SetUpError(
          `Cannot show the rest: the server ${how}\n${readFileSync(logIn(folder), "utf8")}`,
        );
      }
      // There is nothing to await: the probe is what anyone outside would use.
      await Bun.sleep(20);
    }
    say(`  serving after ${duration(performance.now() - begin)}`);
  }

  /** What a server that was killed in the middle has not removed. */
  async #removeContainers(session: string): Promise<void> {
    const filters = encodeURIComponent(JSON.stringify({ label: [`baaaht.session=${session}`] }));
    const { dockerHost } = this.#options;
    const listed = await callEngine(dockerHost, `/containers/json?all=1&filters=${filters}`);
    // The engine's own list of containers.
    const containers = (await listed.json()) as { readonly Id: string }[];
    for (const { Id } of containers) {
      await callEngine(dockerHost, `/containers/${Id}?force=1&v=1`, { method: "DELETE" });
    }
  }

  async #run(
    args: readonly string[],
    signal: AbortSignal,
    onLine?: (line: string) => void,
  ): Promise<CommandResult> {
    return await runCommand([BINARY, ...args], {
      cwd: this.#options.folder,
      env: { GRPC_SOCKET_PATH: socketIn(this.#options.folder) },
      signal,
      processGroup: "own",
      ...(onLine === undefined ? {} : { onLine }),
    });
  }
}

function socketIn(folder: string): string {
  return join(folder, "baaaht.sock");
}

function logIn(folder: string): string {
  return join(folder, "server.log");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
