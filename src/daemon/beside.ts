import type { Subprocess } from "bun";
import { linesOf } from "./child-lines.ts";
import type { Log } from "./log.ts";
import { pause } from "./pause.ts";

/** A command of this executable that runs beside the server for as long as the server does. */
export interface Beside {
  /** For the log: `assistant`. */
  readonly name: string;
  /** Its words, such as `["assistant", "run"]`; `--until-eof` has to be known to it, and is added. */
  readonly args: readonly string[];
  /** Added to the server's own environment. */
  readonly env: Readonly<Record<string, string>>;
  /** How long it may take to end after it was told to. Milliseconds. */
  readonly endWithinMs: number;
  readonly words: Log;
}

/** The pause before a program that has ended is started again: doubling, and forgotten when it ran for a while. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const RAN_WELL_MS = 60_000;

/** The exit code for words or a configuration that are wrong: to start it again would help nobody. */
const USAGE_EXIT_CODE = 2;

/**
 * Starts a program beside the server, and starts it again when it ends. What it says on stderr goes to the log. Disposing
 * tells it to end, and waits for that.
 *
 * It gets a pipe as stdin that nobody writes to: should the server be killed, the pipe ends, and the program with it.
 */
export class RunningBeside implements AsyncDisposable {
  readonly #program: Beside;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #child: Subprocess<"pipe", "ignore", "pipe"> | undefined;

  constructor(program: Beside) {
    this.#program = program;
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#child?.kill("SIGTERM");
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), this.#program.endWithinMs);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const { name, words } = this.#program;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const begun = performance.now();
      const how = await this.#once();
      if (signal.aborted) return;
      if (how === `exit code ${USAGE_EXIT_CODE}`) {
        words.error("a program beside the server can't run, and is not started again", { program: name });
        return;
      }
      failures = performance.now() - begun > RAN_WELL_MS ? 0 : failures + 1;
      const ms = Math.min(FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1), LONGEST_PAUSE_MS);
      words.warn("a program beside the server has ended", { program: name, how, again_in_ms: ms });
      await pause(ms, signal);
    }
  }

  /** Runs it to its end; gives how that was. */
  async #once(): Promise<string> {
    const { name, args, env, words } = this.#program;
    try {
      const child = Bun.spawn([...thisProgram(), ...args, "--until-eof"], {
        env: { ...process.env, ...env },
        stdin: "pipe",
        stdout: "ignore",
        stderr: "pipe",
      });
      this.#child = child;
      words.info("a program beside the server is started", { program: name, pid: child.pid });
      for await (const line of linesOf(child.stderr)) words.info(`${name}: ${line}`);
      const code = await child.exited;
      return child.signalCode === null ? `exit code ${code}` : `signal ${child.signalCode}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error); // it could not be started
    } finally {
      this.#child = undefined;
    }
  }
}

/** What this process was started as: the executable, or Bun with a file. */
function thisProgram(): readonly string[] {
  return Bun.main.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, Bun.main];
}
