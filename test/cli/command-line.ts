import { runCli } from "../../src/cli/run-cli.ts";
import type { Output, Server, Shell } from "../../src/cli/shell.ts";
import { daemonForCli } from "../../src/daemon-for-cli.ts";
import { PROGRAM } from "../program.ts";

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly env?: Readonly<Record<string, string>>;
  /** What is on stdin; without it there is nothing to read. */
  readonly stdin?: string | Uint8Array;
}

/** The command line as a process of its own, with nothing of this one's environment that is baaaht's. */
export async function baaaht(args: readonly string[], { env = {}, stdin }: Started = {}): Promise<Ended> {
  const child = Bun.spawn([...PROGRAM, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdin: stdin === undefined ? "ignore" : Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { exitCode, stdout, stderr };
}

/** The command line within this process, for what needs no server; on a terminal of `columns` when they are given. */
export async function typed(
  args: readonly string[],
  shell: Partial<Shell> = {},
  { columns }: { readonly columns?: number } = {},
): Promise<Ended> {
  const out = recorded(columns);
  const err = recorded(columns);
  const exitCode = await runCli(args, { ...QUIET_SHELL, ...shell, out: out.output, err: err.output });
  return { exitCode, stdout: out.text(), stderr: err.text() };
}

/** A stdin that holds this and nothing more. */
export function piped(data: string | Uint8Array): Shell["in"] {
  return {
    ...QUIET_SHELL.in,
    isGiven: () => true,
    read: async function* () {
      yield Buffer.from(data);
    },
  };
}

/** The command line's parts of a server, for the one that listens at `socketPath`. */
export function reaching(socketPath: string): Server {
  return { ...server, clientSettings: (given) => server.clientSettings(given ?? socketPath) };
}

/** An output that keeps what is written to it; a terminal when it is given a width. */
export function recorded(columns?: number): { readonly output: Output; readonly text: () => string } {
  const chunks: Buffer[] = [];
  return {
    text: () => Buffer.concat(chunks).toString(),
    output: {
      isTerminal: columns !== undefined,
      write: async (data) => void chunks.push(Buffer.from(data)),
      size: () => (columns === undefined ? undefined : { columns, rows: 24 }),
      onResize: () => NOTHING,
    },
  };
}

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

/** Without configuration files, so that what is on this machine changes nothing. */
const server: Server = {
  ...daemonForCli,
  clientSettings: async (socketPath) => ({
    address: `unix://${socketPath ?? "/nonexistent/baaaht.sock"}`,
    dialTimeoutMs: 1000,
    callTimeoutMs: 1000,
    reconnectIntervalMs: 100,
    reconnectMaxAttempts: 1,
  }),
};

export const QUIET_SHELL: Shell = {
  env: {},
  out: recorded().output,
  err: recorded().output,
  in: { isTerminal: false, isGiven: () => false, read: async function* () {}, raw: () => NOTHING },
  now: () => 0,
  onSignals: () => NOTHING,
  endNow: (exitCode) => {
    throw new Error(`Cannot end a test with ${exitCode}`);
  },
  server,
};
