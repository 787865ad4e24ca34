import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, type ClientOptions, connect } from "../src/client/client.ts";
import { HealthCheckResponse_ServingStatus } from "../src/gen/grpc/health/v1/health_pb.ts";
import { PROGRAM } from "./program.ts";

export interface ServerOptions {
  /** By default a fresh one, removed at the end. A given one stays. */
  readonly dataDir?: string;
  /** By default one in a fresh folder. */
  readonly socketPath?: string;
  /** By default an address where nothing is, so that no engine is touched. */
  readonly dockerHost?: string;
  /** More flags of `serve`, such as `["--log-level", "debug"]`. */
  readonly flags?: readonly string[];
  /** More environment, such as `{ BAAAHT_SESSIONS_MAX_SESSIONS: "2" }`. Nothing of baaaht's own is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  /** What is started: by default what test/program.ts says; `["/path/of/baaaht"]` for a certain one. */
  readonly program?: readonly string[];
  /** Of the client that comes with it. */
  readonly client?: Omit<ClientOptions, "address">;
  /** How long it may take until it serves. Milliseconds. */
  readonly startTimeoutMs?: number;
}

/** A server in a process of its own. Disposing stops it, and removes the folders that were made for it. */
export interface TestServer extends AsyncDisposable {
  readonly client: Client;
  readonly pid: number;
  readonly socketPath: string;
  readonly dataDir: string;
  /** The code that it ended with, or minus the number of the signal that ended it. */
  readonly exited: Promise<number>;
  /** What it has written to stderr so far. */
  logs(): string;
  /** Waits for a line on stderr that holds `text`; throws when the server ends without one. */
  logged(text: string): Promise<void>;
  /** Another client of it, closed with it. */
  connect(options?: Omit<ClientOptions, "address">): Client;
  /** Ends it by SIGKILL. Its folders stay until it is disposed. */
  kill(): Promise<void>;
  /** Ends it by SIGTERM, and gives its exit code. Its folders stay until it is disposed. */
  stop(): Promise<number>;
}

/**
 * Starts `serve` in a process of its own and waits until it says that it serves.
 *
 * @example
 * await using server = await startServer();
 * const { sessionId } = await server.client.orchestrator.createSession({});
 * await server.kill();
 * await using again = await startServer({ dataDir: server.dataDir, socketPath: server.socketPath });
 */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const process = await spawn(options);
  const clients: Client[] = [];
  const connectTo = (more: Omit<ClientOptions, "address"> = {}) => {
    const client = connect({ address: `unix://${process.socketPath}`, ...more });
    clients.push(client);
    return client;
  };
  const client = connectTo({ dialTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS, ...options.client });
  const server: TestServer = {
    client,
    pid: process.pid,
    socketPath: process.socketPath,
    dataDir: process.dataDir,
    exited: process.exited,
    logs: process.logs,
    logged: process.logged,
    connect: connectTo,
    kill: async () => {
      process.signal("SIGKILL");
      await process.exited;
    },
    stop: () => {
      process.signal("SIGTERM");
      return process.exited;
    },
    [Symbol.asyncDispose]: async () => {
      for (const each of clients) await each[Symbol.asyncDispose]();
      await process[Symbol.asyncDispose]();
    },
  };
  try {
    await Promise.race([serving(client), endedEarly(process)]);
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw new Error(`Cannot start a server for the test; it wrote:\n${process.logs()}`, { cause: error });
  }
}

/** Starts `serve` where it has to refuse, and gives how it ended. Throws when it serves instead. */
export async function refusedStart(
  options: ServerOptions = {},
): Promise<{ readonly exitCode: number; readonly stderr: string }> {
  await using process = await spawn(options);
  const started = process.logged('"serving"').then(
    () => true,
    () => false, // it has ended, and written no such line
  );
  if (await started) throw new Error(`Cannot see the server refuse to start: it serves\n${process.logs()}`);
  return { exitCode: await process.exited, stderr: process.logs() };
}

const START_TIMEOUT_MS = 20_000;

/** How long a server that is told to stop may take before it is killed. Milliseconds. */
const STOP_TIMEOUT_MS = 20_000;

interface ServerProcess extends AsyncDisposable {
  readonly pid: number;
  readonly socketPath: string;
  readonly dataDir: string;
  readonly exited: Promise<number>;
  logs(): string;
  logged(text: string): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

async function spawn(options: ServerOptions): Promise<ServerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "baaaht-server-"));
  const dataDir = options.dataDir ?? join(folder, "data");
  const socketPath = options.socketPath ?? join(folder, "s.sock");
  const program = options.program ?? PROGRAM;
  const dockerHost = options.dockerHost ?? `unix://${join(folder, "no-engine.sock")}`;
  const flags = ["--data-dir", dataDir, "--grpc-socket-path", socketPath, "--docker-host", dockerHost];
  const child = Bun.spawn({
    cmd: [...withParent(), ...program, "serve", ...flags, "--log-format", "json", ...(options.flags ?? [])],
    cwd: folder,
    // Containers that wait for whoever comes would be counted with those that a test has made.
    env: { ...inherited(), BAAAHT_WARM_MAX_CONTAINERS: "0", ...options.env },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const words = collect(child.stderr);
  const exited = child.exited.then(async (code) => {
    await words.ended;
    return child.signalCode === null ? code : 128 - code; // Bun gives 128 + the signal's number
  });
  return {
    pid: child.pid,
    socketPath,
    dataDir,
    exited,
    logs: words.text,
    logged: words.has,
    signal: (name) => child.kill(name),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(late);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Lets a server end with the test's process, also when that is killed. */
function withParent(): readonly string[] {
  const setpriv = Bun.which("setpriv"); // of util-linux; elsewhere a killed test leaves its server behind
  return setpriv === null ? [] : [setpriv, "--pdeathsig", "KILL", "--"];
}

/** The environment of the tests without what would configure a server. */
function inherited(): Record<string, string | undefined> {
  const foreign = /^(BAAAHT_|DOCKER_|GRPC_|NOTIFY_SOCKET$|WATCHDOG_|XDG_)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

function collect(stream: ReadableStream<Uint8Array>) {
  let text = "";
  let more = Promise.withResolvers<"open" | "ended">();
  const read = async () => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      text += decoder.decode(bytes, { stream: true });
      more.resolve("open");
      more = Promise.withResolvers();
    }
    more.resolve("ended");
  };
  return {
    ended: read(),
    text: () => text,
    has: async (wanted: string) => {
      while (!text.includes(wanted)) {
        if ((await more.promise) === "ended")
          throw new Error(`it ended and never said "${wanted}":\n${text}`);
      }
    },
  };
}

async function serving(client: Client): Promise<void> {
  await client.ready();
  for await (const { status } of client.health.watch({ service: "" })) {
    if (status === HealthCheckResponse_ServingStatus.SERVING) return;
  }
  throw new Error("its health ended without SERVING");
}

async function endedEarly(process: ServerProcess): Promise<never> {
  throw new Error(`it ended with code ${await process.exited} before it served`);
}
