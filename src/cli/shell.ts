import { fstatSync } from "node:fs";
import type { ReadStream, WriteStream } from "node:tty";
import type { AssistantConfig } from "../assistant/assistant-config.ts";

/** What a command has of the process that it runs in. Tests hand in another one. */
export interface Shell {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: Output;
  readonly err: Output;
  readonly in: Keyboard;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Calls `act` for each of these signals until it is disposed; while it is in force they do not end the process. */
  readonly onSignals: (signals: readonly StopSignal[], act: (signal: StopSignal) => void) => Disposable;
  /** Ends the process at once, whatever is under way. */
  readonly endNow: (exitCode: number) => never;
  readonly server: Server;
}

export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT";

export interface Output {
  /** Done when the other end has taken it. Throws a `ClosedOutput` when there is no other end any more, else a `FailedOutput`. */
  readonly write: (data: string | Uint8Array) => Promise<void>;
  readonly isTerminal: boolean;
  /** Of the terminal at this moment; undefined when it is none, or has none. */
  readonly size: () => { readonly columns: number; readonly rows: number } | undefined;
  /** Calls `act` when the terminal's size has changed. */
  readonly onResize: (act: () => void) => Disposable;
}

interface Keyboard {
  readonly isTerminal: boolean;
  /** Whether something was put there for a program to read: a pipe or a file, not a terminal or /dev/null. */
  readonly isGiven: () => boolean;
  /** What is read, until its end or until `signal` aborts. */
  readonly read: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  /** Keys come one by one and unchanged, until it is disposed. */
  readonly raw: () => Disposable;
}

/** The server's parts that commands start or ask; `main.ts` hands them in, because cli/ does not know daemon/. */
export interface Server {
  /** How to reach a server: `socketPath` when it is given, else what the environment, the file or the defaults say. */
  readonly clientSettings: (socketPath: string | undefined) => Promise<ClientSettings>;
  /** What has a flag. Loaded when it is asked for. */
  readonly settings: () => Promise<readonly ServerSetting[]>;
  /** Of our own assistant: what has a flag of `assistant run`, and what was configured. */
  readonly assistant: {
    readonly settings: () => Promise<readonly ServerSetting[]>;
    readonly configuration: (given: ServerFlags) => Promise<AssistantConfig>;
  };
  /** Reads configuration, tells what is wrong with it as one Failure, and says where each value comes from. */
  readonly configuration: (given: ServerFlags) => Promise<Configuration>;
  /** Serves until `signal` aborts and everything is put away. A Failure when it can't start. */
  readonly serve: (given: ServerFlags, options: Serving) => Promise<void>;
}

interface Serving {
  readonly signal: AbortSignal;
  /** Calls `act` when the configuration is to be read again, until it is disposed. */
  readonly onReload: (act: () => void) => Disposable;
}

/** As the client library takes them. */
interface ClientSettings {
  readonly address: string;
  readonly dialTimeoutMs: number;
  readonly callTimeoutMs: number;
  readonly reconnectIntervalMs: number;
  readonly reconnectMaxAttempts: number;
}

/** The flags that were typed, by name without dashes. */
export type ServerFlags = Readonly<Record<string, string>>;

/** A setting that `serve` has a flag for. */
export interface ServerSetting {
  /** Without dashes. */
  readonly flag: string;
  readonly about: string;
  /** Such as `PATH`. */
  readonly placeholder: string;
  readonly fallback: string | undefined;
  readonly isPath: boolean;
  /** Whether the flag takes no value, and stands for `on`. */
  readonly isSwitch: boolean;
}

interface Configuration {
  readonly values: readonly ConfiguredValue[];
  /** The file that was read; undefined when there was none. */
  readonly file: string | undefined;
  /** What is odd and yet no reason not to start. */
  readonly warnings: readonly string[];
}

interface ConfiguredValue {
  readonly name: string;
  readonly value: string;
  /** Such as `default`, `flag --data-dir` or `/etc/baaaht.toml`. */
  readonly source: string;
}

/** Nobody reads any more, as when `head` has seen enough. Not worth a word. */
export class ClosedOutput extends Error {}

/** What is written can't be kept, as on a full disk. Its message is for a person. */
export class FailedOutput extends Error {}

/** The process itself. */
export function processShell(server: Server): Shell {
  return {
    env: process.env,
    out: output(process.stdout, "stdout"),
    err: output(process.stderr, "stderr"),
    in: keyboard(process.stdin),
    now: Date.now,
    onSignals,
    endNow: (exitCode) => process.exit(exitCode),
    server,
  };
}

function output(stream: WriteStream, name: string): Output {
  // Without a listener a closed pipe would end the process with a stack trace; write() tells the same by its callback.
  stream.on("error", () => undefined);
  return {
    isTerminal: stream.isTTY === true,
    write: (data) =>
      new Promise((resolve, reject) => {
        stream.write(data, (error) => {
          if (error === null || error === undefined) resolve();
          else reject(outputError(error, name));
        });
      }),
    size: () => sizeOf(stream),
    onResize: (act) => {
      stream.on("resize", act);
      return { [Symbol.dispose]: () => void stream.off("resize", act) };
    },
  };
}

/** A terminal that nobody has given a size says that it is 0 by 0. */
function sizeOf({ isTTY, columns, rows }: WriteStream): ReturnType<Output["size"]> {
  return isTTY === true && columns > 0 && rows > 0 ? { columns, rows } : undefined;
}

function outputError(error: Error, name: string): ClosedOutput | FailedOutput {
  if ("code" in error && error.code === "EPIPE") return new ClosedOutput();
  // The system's words stand between its code and the call: "ENOSPC: no space left on device, write".
  const words = /^[A-Z\d]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message;
  return new FailedOutput(`Cannot write to ${name}: ${words}`, { cause: error });
}

function keyboard(stream: ReadStream): Keyboard {
  return {
    isTerminal: stream.isTTY === true,
    isGiven: () => stream.isTTY !== true && holdsInput(),
    read: (signal) => chunks(stream, signal),
    raw: () => {
      const restore = () => void stream.setRawMode(false);
      // Also when the process ends in the middle: a terminal that shows nothing of what is typed would stay behind.
      process.on("exit", restore);
      stream.setRawMode(true);
      passOutput();
      return {
        [Symbol.dispose]: () => {
          process.off("exit", restore);
          restore();
        },
      };
    },
  };
}

/**
 * Has the terminal show what it is given. The runtime's raw mode leaves it to make carriage returns of line feeds, which
 * the command's own terminal has made where they are wanted; full-screen programs go down by a line feed alone.
 */
function passOutput(): void {
  const stty = Bun.which("stty");
  if (stty !== null) Bun.spawnSync([stty, "-opost"], { stdio: ["inherit", "ignore", "ignore"] });
}

/** A program started by another one gets /dev/null, or a pipe; only the second is meant to be read. */
function holdsInput(): boolean {
  try {
    const input = fstatSync(0);
    return input.isFIFO() || input.isFile() || input.isSocket();
  } catch {
    return false; // closed
  }
}

async function* chunks(stream: ReadStream, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const source = stream[Symbol.asyncIterator]();
  const aborted = new Promise<{ readonly done: true }>((resolve) => {
    if (signal.aborted) resolve({ done: true });
    signal.addEventListener("abort", () => resolve({ done: true }), { once: true });
  });
  try {
    for (;;) {
      const next = await Promise.race([source.next(), aborted]);
      if (next.done === true) return;
      yield typeof next.value === "string" ? new TextEncoder().encode(next.value) : next.value;
    }
  } finally {
    stream.destroy(); // a read that is under way would keep the process
  }
}

function onSignals(signals: readonly StopSignal[], act: (signal: StopSignal) => void): Disposable {
  const listeners = signals.map((signal) => {
    const listener = () => act(signal);
    process.on(signal, listener);
    return () => void process.off(signal, listener);
  });
  return {
    [Symbol.dispose]: () => {
      for (const stop of listeners) stop();
    },
  };
}
