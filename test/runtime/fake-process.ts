import { constants } from "node:os";
import { FakePipe, unlessAborted } from "./fake-pipe.ts";
import { runProgram, type ShellWorld } from "./fake-shell.ts";

export interface ProcessSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: string;
  readonly tty: boolean;
  /** The first of its container: as on Linux, signals that it does not catch do not reach it, KILL apart. */
  readonly isFirst: boolean;
  readonly write: (stream: "stdout" | "stderr", data: Uint8Array, signal: AbortSignal) => Promise<void>;
  /** Told that a program wants all memory; false when it can have it. */
  readonly outOfMemory: () => boolean;
  readonly touch: (path: string) => void;
}

export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

/** Signals that change nothing unless they are caught. */
const HARMLESS = new Set<number>([
  constants.signals.SIGCHLD,
  constants.signals.SIGCONT,
  constants.signals.SIGWINCH,
]);

/** A process of the fake engine: a tiny shell that runs in this one. */
export class FakeProcess {
  readonly stdin = new FakePipe();
  /** Resolves with the exit code when it has ended and all that it wrote is taken. */
  readonly exited: Promise<number>;
  size: WindowSize | undefined;
  code: number | undefined;
  readonly #spec: ProcessSpec;
  readonly #killed = new AbortController();
  readonly #traps = new Map<number, string>();
  #due: string[] = [];
  #frozen = Promise.withResolvers<void>();

  constructor(spec: ProcessSpec, size?: WindowSize) {
    this.#spec = spec;
    this.size = size;
    this.#frozen.resolve();
    this.exited = this.#run();
  }

  signal(number: number): void {
    const trap = this.#traps.get(number);
    if (number === constants.signals.SIGKILL) this.#kill(number);
    else if (trap !== undefined) this.#due.push(trap);
    else if (!this.#spec.isFirst && !HARMLESS.has(number)) this.#kill(number);
  }

  freeze(): void {
    this.#frozen = Promise.withResolvers<void>();
  }

  thaw(): void {
    this.#frozen.resolve();
  }

  #kill(number: number): void {
    this.#killed.abort(128 + number);
  }

  async #run(): Promise<number> {
    // The one who started it hears of the start before anything of the process.
    await Bun.sleep(0);
    try {
      this.code = await runProgram(this.#spec.argv, this.#world());
    } catch (thrown) {
      if (!this.#killed.signal.aborted) throw thrown;
      this.code = Number(this.#killed.signal.reason);
    }
    this.stdin.break();
    return this.code;
  }

  #world(): ShellWorld {
    const { env, workingDir, user, tty, write, outOfMemory, touch } = this.#spec;
    const { signal } = this.#killed;
    return {
      env,
      workingDir: workingDir === "" ? "/" : workingDir,
      user,
      outOfMemory,
      touch,
      write: async (stream, data) => {
        await unlessAborted(this.#frozen.promise, signal);
        await write(tty ? "stdout" : stream, tty ? withReturns(data) : data, signal);
      },
      read: () => this.stdin.read(signal),
      unread: (data) => this.stdin.unread(data),
      size: () => (tty ? (this.size ?? { columns: 80, rows: 24 }) : undefined),
      sleep: (ms) => unlessAborted(Bun.sleep(ms), signal), // for scripts that sleep
      trap: (name, script) => {
        const number = signalNumber(name);
        if (number !== undefined) this.#traps.set(number, script);
      },
      checkpoint: async () => {
        await unlessAborted(this.#frozen.promise, signal);
        const due = this.#due;
        this.#due = [];
        return due;
      },
    };
  }
}

/** The number of a signal by its name with or without SIG, or by its number. */
export function signalNumber(name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  const wanted = `SIG${name.toUpperCase().replace(/^SIG/, "")}`;
  return Object.entries(constants.signals).find(([known]) => known === wanted)?.[1];
}

/** As a terminal shows it. */
function withReturns(data: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(data).toString("latin1").replaceAll("\n", "\r\n"), "latin1");
}
