import { join } from "node:path";
import type { EngineState } from "../containers/engine-link.ts";
import { EventLog } from "../events/log.ts";
import { Failure } from "../failure.ts";
import { createServer } from "../rpc/adapter.ts";
import type { Health } from "../rpc/health.ts";
import { connectDocker } from "../runtime/docker/docker.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { SqliteStore } from "../store/sqlite/sqlite-store.ts";
import { changed } from "../store/store.ts";
import { version } from "../version.ts";
import type { LoadedConfig } from "./config.ts";
import { reloadConfig } from "./config-reload.ts";
import { dataFolderWarning, makeDataFolder } from "./data-folder.ts";
import { type Domain, startDomain } from "./domain.ts";
import { keepHouse } from "./housekeeping.ts";
import { writeInitFile } from "./init-file.ts";
import { listen } from "./listener.ts";
import { lockDataFolder } from "./lock.ts";
import { createLog, isQuieter, type Log, logFormat, type RootLog } from "./log.ts";
import { LogOutput } from "./log-output.ts";
import { peerOf } from "./peer.ts";
import { startBeside } from "./programs-beside.ts";
import { addServices, containersHealth, createHealth } from "./services.ts";
import { Supervisor } from "./supervisor.ts";
import { openServiceNotice } from "./systemd.ts";

export interface ServeOptions {
  /** The server stops when it aborts. */
  readonly signal: AbortSignal;
  /** Calls `act` when the configuration is to be read again. */
  readonly onReload: (act: () => void) => Disposable;
  /** Reads the configuration again; fails as `loadConfig` does. */
  readonly reread: () => LoadedConfig;
}

/** How much longer than its shutdown time-out a stopping server may take before it ends itself, in milliseconds. */
const hardEndMs = 5_000;

/**
 * Serves until `signal` aborts and everything is put away.
 *
 * Failures: whatever keeps it from starting, in words that say what to do about it.
 */
export async function serve(loaded: LoadedConfig, options: ServeOptions): Promise<void> {
  const { signal } = options;
  const { config } = loaded;
  let inForce = loaded;
  const format = logFormat(config.log.format, { fd: 2, env: process.env });
  await using output = new LogOutput(2, { dropped: (lines) => droppedLine(lines, format) });
  const words = createLog({ level: config.log.level, format, write: (line) => output.write(line) });
  for (const warning of loaded.warnings) words.warn(warning);
  using last = new DisposableStack(); // what is said when all that follows is put away
  using notice = openServiceNotice({ env: process.env, log: words });
  prepareFolder(config.dataDir, words);
  await using _lock = lockDataFolder(config.dataDir);
  await using store = openStore(config.dataDir, { words, output });
  const clock = Date.now;
  const startedAt = clock();
  using log = new EventLog(store.events, { clock, ...config.events });
  await using runtime = connectEngine(config, words);
  await using supervisor = new Supervisor(words);
  const health = createHealth();
  const engine = new EngineWords({ health, words, endpoint: runtime.endpoint });
  const domain = await startDomain({
    store,
    log,
    runtime,
    supervisor,
    config,
    clock,
    words,
    stopping: signal,
    onEngine: engine.tell,
  });
  supervisor.keepUp("look after retention", (stop) =>
    keepHouse({ store, clock, retention: () => inForce.config.retention }, stop),
  );
  const server = createServer({
    report: (defect, call) =>
      words.error("a call met a defect", {
        method: call.method,
        correlation_id: call.correlationId,
        error: defect,
      }),
    callerOf: peerOf,
    stalledAfterMs: config.grpc.stalledStreamTimeoutMs,
    maxReceiveBytes: config.grpc.maxReceiveBytes,
    maxSendBytes: config.grpc.maxSendBytes,
    keepaliveMs: config.grpc.keepaliveIntervalMs,
    keepaliveTimeoutMs: config.grpc.connectionTimeoutMs,
    maxCalls: config.limits.maxCalls,
  });
  const facts = {
    version,
    startedAt,
    clock,
    subsystems: () => [
      { name: "store", problem: store.problem ?? "" },
      { name: "containers", problem: engine.problem },
    ],
    ...countsOf(domain),
  };
  addServices(server, { domain, log, health, facts, config });
  await using listener = await listen(server, {
    path: config.grpc.socketPath,
    maxConnections: config.limits.maxConnections,
    graceMs: config.shutdownTimeoutMs,
  });
  // Only now: a start that is refused has not happened.
  await tell(store, { type: "system_startup", at: clock(), data: { version } });
  setServing(health, engine);
  words.info("serving", {
    socket: listener.path,
    data_dir: config.dataDir,
    engine: runtime.endpoint,
    version,
    pid: process.pid,
  });
  notice.ready(`Serving on ${listener.path}`);
  await using _beside = startBeside(loaded, words); // ends while they can still say what they have to
  using _reload = options.onReload(() => {
    notice.reloading();
    inForce = reloaded(inForce, { reread: options.reread, words });
    notice.ready(`Serving on ${listener.path}`);
  });
  await whenAborted(signal);
  words.info("stopping");
  last.defer(() => words.info("stopped"));
  notice.stopping("Stopping");
  endInTime(config.shutdownTimeoutMs + hardEndMs, { words, output });
  health.setAll("not_serving");
  await tell(store, { type: "system_shutdown", at: clock(), data: { version } });
}

function countsOf({ sessions, containers, pool, agents, lines, tasks }: Domain) {
  let streams = 0;
  return {
    countGateways: () => sessions.countOpenGateways(),
    countStreams: () => streams,
    countStream: (by: 1 | -1) => {
      streams += by;
    },
    agentsNow: () => ({ live: agents.count, lines: lines.count, usage: agents.usage() }),
    countTasks: () => tasks.countOpen(),
    countSessions: () => sessions.countOpen(),
    countContainers: () => containers.countActive(),
    countPrepared: () => pool.waiting,
  };
}

function connectEngine({ docker, warm, dataDir }: LoadedConfig["config"], words: Log): Runtime {
  const warn = (why: string) => words.warn("starts in containers are not warm", { why });
  const initFile = warm.starts === "on" ? writeInitFile(dataDir, warn) : undefined;
  return connectDocker({ dockerHost: docker.host, initFile });
}

function prepareFolder(path: string, words: Log): void {
  makeDataFolder(path);
  const warning = dataFolderWarning(path);
  if (warning !== undefined) words.warn(warning);
}

/** Puts what the engine link finds into health and the log of words. */
class EngineWords {
  problem = "the container engine was not asked yet";
  readonly #parts: { readonly health: Health; readonly words: Log; readonly endpoint: string };

  constructor(parts: { readonly health: Health; readonly words: Log; readonly endpoint: string }) {
    this.#parts = parts;
  }

  readonly tell = (state: EngineState): void => {
    const { health, words, endpoint } = this.#parts;
    this.problem = state.kind === "lost" ? state.reason : "";
    health.set(containersHealth, state.kind === "up" ? "serving" : "not_serving");
    if (state.kind === "up") words.info("the container engine answers", { engine: endpoint });
    if (state.kind === "lost")
      words.warn("the container engine can't be used; containers are not served", {
        engine: endpoint,
        reason: state.reason,
      });
  };
}

/** Everything is served; containers only when the engine answers. */
function setServing(health: Health, engine: EngineWords): void {
  health.setAll("serving");
  if (engine.problem !== "") health.set(containersHealth, "not_serving");
}

/** What stands where lines are missing because nobody read them. */
function droppedLine(lines: number, format: ReturnType<typeof logFormat>): string {
  let text = "";
  const log = createLog({ level: "warn", format, write: (line) => (text += line) });
  log.warn("log lines were dropped: nobody read them", { lines });
  return text;
}

/** A full disk must not keep a server from stopping, or from serving what it has. */
async function tell(
  store: SqliteStore,
  event: {
    readonly type: "system_startup" | "system_shutdown";
    readonly at: number;
    readonly data: Record<string, string>;
  },
): Promise<void> {
  try {
    await store.change({}, () => changed(undefined, [], [{ source: "daemon", ...event }]));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}

/** The configuration after it was read again: what can change while serving is as it is written now. */
function reloaded(
  running: LoadedConfig,
  options: { readonly reread: () => LoadedConfig; readonly words: RootLog },
): LoadedConfig {
  const { words } = options;
  try {
    const { loaded, applied, deferred } = reloadConfig(running, options.reread());
    const levels = { before: running.config.log.level, after: loaded.config.log.level };
    // Under the one that shows more: whoever asks for fewer lines hears that it was done.
    if (isQuieter(levels.before, levels.after)) words.setLevel(levels.after);
    words.info("configuration read again", { applied });
    for (const change of deferred) words.warn("a changed setting waits for the next start", { ...change });
    words.setLevel(levels.after);
    return loaded;
  } catch (error) {
    const what = "the configuration can't be read again; the one before stays in force";
    // A mistake in it is the operator's, and a stack tells them nothing.
    if (error instanceof Failure) words.error(what, { problem: error.message });
    else words.error(what, { error });
    return running;
  }
}

/** What an end needs that can't wait for things to be put away. */
interface Ending {
  readonly words: Log;
  readonly output: LogOutput;
}

function endInTime(ms: number, { words, output }: Ending): void {
  setTimeout(() => {
    words.error("stopping takes too long; ending now", { after_ms: ms });
    void endNow(output);
  }, ms).unref();
}

function openStore(dataDir: string, ending: Ending): SqliteStore {
  const store = new SqliteStore(join(dataDir, "baaaht.db"));
  void endWhenLost(store, ending);
  return store;
}

async function endWhenLost(store: SqliteStore, { words, output }: Ending): Promise<void> {
  const { message } = await store.whenLost;
  words.error("what is saved is not known; ending, for the next start to find out", { problem: message });
  await endNow(output);
}

/** Once the log is written. Not by an exit, which would put the database away, and wait for a disk that does not answer. */
async function endNow(output: LogOutput): Promise<void> {
  await output[Symbol.asyncDispose]();
  process.kill(process.pid, "SIGKILL");
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
