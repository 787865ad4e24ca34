import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Call } from "../../src/call.ts";
import {
  type Container,
  type ContainerConfig,
  containerTable,
  type PullPolicy,
} from "../../src/containers/container.ts";
import type { EngineState } from "../../src/containers/engine-link.ts";
import { execTable } from "../../src/containers/execs/exec.ts";
import { loadConfig } from "../../src/daemon/config.ts";
import { type Domain, startDomain } from "../../src/daemon/domain.ts";
import { createLog } from "../../src/daemon/log.ts";
import { Supervisor } from "../../src/daemon/supervisor.ts";
import type { EventType, LogEvent } from "../../src/events/event.ts";
import { EventLog } from "../../src/events/log.ts";
import type { ContainerSpec, RuntimeId } from "../../src/runtime/runtime.ts";
import type { SessionConfig, SessionId } from "../../src/sessions/session.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { containerConfig, sessionConfig } from "./container-config.ts";
import { GatedRuntime } from "./gated-runtime.ts";

export const FOREVER = ["sh", "-c", "while true; do sleep 0.01; done"];
/** Ends by SIGTERM, with code 7. */
export const POLITE = ["sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.01; done"];

export interface SubjectOptions {
  readonly runtime?: GatedRuntime;
  /** The folder of another subject: goes on with what that has left. It isn't removed. */
  readonly folder?: string;
  readonly limits?: Readonly<Record<string, string>>;
}

/** The whole domain over a store of its own and an engine in memory. */
export interface DomainSubject extends AsyncDisposable, Domain {
  readonly runtime: GatedRuntime;
  readonly store: SqliteStore;
  readonly log: EventLog;
  readonly folder: string;
  /** Every state of the engine that was told, in order. */
  readonly states: readonly EngineState[];
  /** Lines of the server's own log: defects show there. */
  readonly words: readonly string[];
  /** A call of a client. */
  call(signal?: AbortSignal): Call;
  session(config?: Parameters<typeof sessionConfig>[0]): Promise<SessionId>;
  create(
    sessionId: SessionId,
    config?: Partial<ContainerConfig>,
    more?: { readonly pull?: PullPolicy; readonly key?: string; readonly signal?: AbortSignal },
  ): Promise<Container>;
  row(id: string): Promise<Container | undefined>;
  rows(): Promise<readonly Container[]>;
  openExecs(): Promise<number>;
  /** All events so far, or those of these types. */
  events(...types: readonly EventType[]): Promise<readonly LogEvent[]>;
  /** Waits for an event, also one that has happened before. */
  event(type: EventType, matching?: (event: LogEvent) => boolean): Promise<LogEvent>;
  /** Resolves when the engine is in this state. */
  engine(kind: EngineState["kind"]): Promise<void>;
  /** What the engine has of this install. */
  engineNames(): Promise<readonly string[]>;
  /** Makes a container in the engine as somebody else would. */
  foreign(spec: Partial<ContainerSpec>): Promise<RuntimeId>;
  config(): SessionConfig;
  /** Ends all that runs by itself, as a server that stops does. */
  stop(): Promise<void>;
}

const never = new AbortController().signal;

export async function domainSubject(options: SubjectOptions = {}): Promise<DomainSubject> {
  const runtime = options.runtime ?? new GatedRuntime({ images: ["demo:1"], registry: ["far:1"] });
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "baaaht-domain-"));
  const env = { BAAAHT_DATA_DIR: folder, ...options.limits };
  const { config } = loadConfig({ flags: {}, env, readFile: () => undefined });
  const store = new SqliteStore(join(folder, "baaaht.db"));
  const log = new EventLog(store.events, { clock: Date.now, memoryCount: 1_000, memoryBytes: 1e9 });
  const words: string[] = [];
  const wordLog = createLog({ level: "info", format: "json", write: (line) => words.push(line) });
  const supervisor = new Supervisor(wordLog);
  const states: EngineState[] = [];
  let told = Promise.withResolvers<void>();
  const onEngine = (state: EngineState) => {
    states.push(state);
    told.resolve();
    told = Promise.withResolvers();
  };
  const domain = await startDomain({
    store,
    log,
    runtime,
    supervisor,
    config,
    clock: Date.now,
    words: wordLog,
    stopping: never,
    onEngine,
  });
  await domain.containers.link.settled;
  const call = (signal: AbortSignal = never): Call => ({ actor: "uid:1", correlationId: "test", signal });
  const subject: DomainSubject = {
    ...domain,
    runtime,
    store,
    log,
    folder,
    states,
    words,
    call,
    config: sessionConfig,
    session: async (more = {}) => {
      const metadata = { name: "", description: "", labels: { team: "blue" }, ownerId: "", tags: [] };
      const wanted = { metadata, config: sessionConfig(more), idempotencyKey: "" };
      return (await domain.sessions.create(wanted, call())).id;
    },
    create: async (sessionId, more = {}, { pull = "missing", key = "", signal } = {}) => {
      const wanted = containerConfig({ command: FOREVER, ...more });
      const creating = { sessionId, config: wanted, pull, idempotencyKey: key };
      return (await domain.containers.create(creating, call(signal))).container;
    },
    row: (id) => store.get(containerTable, id),
    rows: async () => (await store.list(containerTable, { limit: 1_000 })).rows,
    openExecs: () => store.count(execTable, { where: { state: "running" } }),
    events: async (...types) => {
      const { events } = await store.events.read({ after: 0, filter: {}, limit: 100_000 });
      return types.length === 0 ? events : events.filter(({ type }) => types.includes(type));
    },
    event: async (type, matching = () => true) => {
      const signal = AbortSignal.timeout(10_000);
      for await (const item of log.follow({ after: 0, filter: {}, signal })) {
        if (item.kind === "event" && item.event.type === type && matching(item.event)) return item.event;
      }
      throw new Error(`there was no ${type}`);
    },
    engine: async (kind) => {
      while (domain.containers.link.state.kind !== kind) await told.promise;
    },
    engineNames: async () => {
      const found = await runtime.list({ "baaaht.install": store.install }, never);
      return found.map(({ name }) => name);
    },
    foreign: (spec) => runtime.create({ ...emptySpec, ...spec }, never),
    stop: () => supervisor[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: async () => {
      await supervisor[Symbol.asyncDispose]();
      log[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      if (options.folder === undefined) rmSync(folder, { recursive: true });
      if (options.runtime === undefined) await runtime[Symbol.asyncDispose]();
    },
  };
  return subject;
}

const emptySpec: ContainerSpec = {
  name: "foreign",
  image: "demo:1",
  command: FOREVER,
  args: [],
  env: {},
  workingDir: "",
  labels: {},
  mounts: [],
  ports: [],
  networkMode: "none",
  limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwapBytes: 0n, pids: 0n },
  restart: { name: "no", maximumRetryCount: 0 },
  readOnlyRootfs: false,
  dropCapabilities: [],
  noNewPrivileges: true,
  init: false,
};
