import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type ServerOptions, startServer, type TestServer } from "../server.ts";
import { ClientProcess } from "./client-process.ts";
import { checkContainers, countInEngine, removeFromEngine, waitForAgreement } from "./container-checks.ts";
import { ContainerLoad, sessionName } from "./container-load.ts";
import { inspectData } from "./data-copy.ts";
import { checkMessageEvents, checkResumed, checkStories, LogStory } from "./event-checks.ts";
import { EventRecord } from "./event-record.ts";
import type { CrashFigures } from "./figures.ts";
import type { Entry } from "./journal.ts";
import { killDuringStart } from "./killed-start.ts";
import { allSessions } from "./listings.ts";
import { type Random, seeded } from "./random.ts";
import { repeatCalls } from "./repeated-calls.ts";
import { checkListing, checkSession } from "./session-checks.ts";
import { SessionModel } from "./session-model.ts";
import { checkTasks, repeatTasks, TaskStories, waitForEnds } from "./task-checks.ts";
import { TaskLoad } from "./task-load.ts";
import { Violations } from "./violations.ts";

export interface CrashOptions {
  readonly rounds: number;
  /** The same seed chooses the same moments and the same calls; what the processes make of them is theirs. */
  readonly seed: number;
  readonly dockerHost: string;
  readonly image: string;
  /** Told how it goes on. */
  readonly progress?: (line: string) => void;
}

/** Every so many rounds are with containers. */
const containersEvery = 4;

/** In so many rounds of ten, a start is killed too. */
const killedStarts = 3;

/** In so many rounds of ten, some workers are killed as well. */
const killedWorkers = 3;

const clientCount = 2;
const sendersEach = 10;

/**
 * Loads a server from several processes, kills it with SIGKILL at a random moment, starts it again on the same data and
 * socket, and checks that all that it has acknowledged is there and true; many times over.
 */
export async function runCrash(options: CrashOptions): Promise<CrashFigures> {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-crash-"));
  try {
    const run = new CrashRun(options, folder);
    return await run.all();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

class CrashRun {
  readonly #options: CrashOptions;
  readonly #folder: string;
  readonly #server: ServerOptions;
  readonly #random: Random;
  readonly #violations = new Violations();
  readonly #model = new SessionModel();
  readonly #story = new LogStory();
  readonly #taskStories = new TaskStories();
  readonly #restartsMs: number[] = [];
  readonly #agreementsMs: number[] = [];
  readonly #endsMs: number[] = [];
  #repeated = 0;
  #startups = 1;
  #install = "";
  #running: TestServer | undefined;

  constructor(options: CrashOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#random = seeded(options.seed);
    this.#server = {
      dataDir: join(folder, "data"),
      socketPath: join(folder, "s.sock"),
      dockerHost: options.dockerHost,
      client: { reconnectIntervalMs: 50 },
      // Workers that were killed are not waited for until the run is over.
      env: {
        BAAAHT_AGENTS_GRACE: "4s",
        BAAAHT_TASKS_RECONNECT_GRACE: "1s",
        BAAAHT_TASKS_RESTART_GRACE: "2s",
        BAAAHT_TASKS_CANCEL_GRACE: "500ms",
        BAAAHT_TASKS_RETRY_DELAY: "20ms",
      },
    };
  }

  async all(): Promise<CrashFigures> {
    const socketPath = join(this.#folder, "s.sock");
    this.#running = await startServer(this.#server);
    try {
      await using client = connect({ address: `unix://${socketPath}`, reconnectIntervalMs: 50 });
      await using record = new EventRecord(client, this.#violations);
      await using containers = await ContainerLoad.open({
        socketPath,
        image: this.#options.image,
        random: this.#random,
      });
      this.#model.created.set(sessionName, {
        call: "create_session",
        op: sessionName,
        key: "",
        outcome: { kind: "acknowledged", id: containers.sessionId },
      });
      await using tasks = new TaskLoad({ socketPath, random: this.#random });
      await using processes = await this.#clients(socketPath);
      const parts = { client, record, containers, tasks, processes: processes.all };
      await this.#rounds(parts);
      return this.#figures(parts);
    } finally {
      await this.#running?.[Symbol.asyncDispose]();
      await removeFromEngine(this.#options.dockerHost, this.#install);
    }
  }

  /** All rounds and the end; fewer when a call of the checks themselves fails, which is a violation too. */
  async #rounds(parts: Parts): Promise<void> {
    try {
      for (let round = 1; round <= this.#options.rounds; round += 1) {
        this.#violations.where = `round ${round}`;
        await this.#round(round, parts);
        this.#options.progress?.(this.#line(round));
      }
      this.#violations.where = "at the end";
      await this.#end(parts);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#violations.add(`a check can't go on: ${error.message}`);
    }
  }

  async #clients(socketPath: string): Promise<AsyncDisposable & { readonly all: readonly ClientProcess[] }> {
    const all = Array.from({ length: clientCount }, (_, at) => {
      const seed = this.#random.between(0, 2 ** 32 - 1);
      return new ClientProcess({ socketPath, name: `c${at}`, seed, senders: sendersEach });
    });
    await Promise.all(all.map(({ ready }) => ready));
    return {
      all,
      [Symbol.asyncDispose]: async () => {
        for (const process of all) await process[Symbol.asyncDispose]();
      },
    };
  }

  async #round(round: number, parts: Parts): Promise<void> {
    const withContainers = round % containersEvery === 0;
    const { client, record, containers, tasks, processes } = parts;
    for (const process of processes) process.go();
    tasks.go();
    if (withContainers) containers.go();
    await Bun.sleep(withContainers ? this.#random.between(800, 3_000) : this.#random.between(50, 900));
    const before = this.#up();
    await before.kill();
    containers.halt();
    tasks.halt();
    if (this.#random.between(1, 10) <= killedWorkers) await tasks.killWorkers();
    const settling = Promise.all(processes.map((process) => process.settle()));
    this.#checkData(before.dataDir);
    await before[Symbol.asyncDispose]();
    await this.#startAgain();
    const entries = (await settling).flat();
    const used = this.#model.absorb(entries);
    await containers.settled();
    if (withContainers) await this.#checkContainers(client, containers);
    await this.#checkSessions(client, { record, used, entries });
    await tasks.settled();
    await this.#checkTasks(parts);
  }

  /** What is told of tasks by rows, log, callers and workers has to be the same. Those that run go on meanwhile. */
  async #checkTasks({ client, record, tasks }: Parts): Promise<void> {
    const violations = this.#violations;
    this.#repeated += await repeatTasks(client, tasks.known, violations);
    this.#endsMs.push(await waitForEnds(client, violations));
    const { cursor } = await client.agent.listTasks({ pageSize: 1 });
    await record.reaches(cursor, 10_000);
    this.#taskStories.take(record.events, violations);
    await checkTasks(client, { load: tasks, stories: this.#taskStories, violations });
  }

  /** Starts the server again on the same folder and socket, in some rounds after a start that was killed half-way. */
  async #startAgain(): Promise<void> {
    while (this.#random.between(1, 10) <= killedStarts) {
      const wholeStartMs = this.#restartsMs.at(-1) ?? 400;
      await killDuringStart(this.#server, this.#random.next() * wholeStartMs);
      this.#checkData(this.#server.dataDir ?? "");
    }
    const begin = Date.now();
    this.#running = await startServer(this.#server);
    this.#startups += 1;
    this.#restartsMs.push(servingAt(this.#running.logs()) - begin);
  }

  async #checkSessions(
    client: Client,
    { record, used, entries }: { record: EventRecord; used: ReadonlySet<string>; entries: readonly Entry[] },
  ): Promise<void> {
    const violations = this.#violations;
    this.#repeated += await repeatCalls(client, entries, violations);
    const { rows, cursor } = await allSessions(client);
    checkListing(rows, this.#model, violations);
    await record.reaches(cursor, 10_000);
    this.#story.take(record.events, violations);
    checkStories(rows, this.#story, violations);
    for (const session of rows) {
      if (!used.has(session.id) || session.metadata?.name === sessionName) continue;
      const listed = await checkSession(client, session, this.#model.of(session.id), violations);
      checkMessageEvents(session.id, { listed, story: this.#story, violations });
    }
    await checkResumed(client, record.events, { random: this.#random, violations });
  }

  async #checkContainers(client: Client, containers: ContainerLoad): Promise<void> {
    const engine = { dockerHost: this.#options.dockerHost, install: this.#install };
    this.#agreementsMs.push(await waitForAgreement(client, engine, this.#violations));
    await checkContainers(client, containers.known, this.#violations);
  }

  #up(): TestServer {
    if (this.#running === undefined) throw new Error("Cannot go on: no server was started");
    return this.#running;
  }

  #checkData(dataDir: string): void {
    const { integrity, install } = inspectData(dataDir);
    this.#install = install;
    this.#violations.unless(integrity === "ok", () => `the database is damaged: ${integrity}`);
  }

  async #end({ client, record, containers }: Parts): Promise<void> {
    const violations = this.#violations;
    const server = this.#up();
    await client.orchestrator.closeSession(
      { sessionId: containers.sessionId, reason: "the run is over" },
      { timeoutMs: 60_000 },
    );
    const engine = { dockerHost: this.#options.dockerHost, install: this.#install };
    const left = await countInEngine(engine);
    violations.unless(
      left === 0,
      () => `the engine has ${left} containers of the install after its session's end`,
    );
    const all = new Set(this.#model.sessions.keys());
    await this.#checkSessions(client, { record, used: all, entries: [] });
    const startups = record.events.filter(({ type }) => type === EventType.SYSTEM_STARTUP).length;
    violations.unless(
      startups >= this.#startups,
      () => `${this.#startups} starts, and the log has ${startups}`,
    );
    const exitCode = await server.stop();
    violations.unless(exitCode === 0, () => `the server ended with ${exitCode} when it was told to stop`);
    this.#checkData(server.dataDir);
    const files = [...readdirSync(this.#folder), ...readdirSync(server.dataDir)].sort();
    const expected = ["baaaht.db", "baaaht.db-wal", "data", "lock"];
    // The init that containers get lies there too.
    const strange = files.filter((file) => !expected.includes(file) && !/^init-[0-9a-f]{12}$/.test(file));
    violations.unless(strange.length === 0, () => `files are left over: ${strange.join(", ")}`);
  }

  #figures({ record, containers, tasks }: Parts): CrashFigures {
    return {
      seed: this.#options.seed,
      rounds: this.#options.rounds,
      acknowledged: {
        ...this.#model.acknowledged,
        containerCalls: containers.acknowledged,
        tasks: tasks.acknowledged,
      },
      taskEnds: tasks.ends,
      tasksBegun: tasks.begun.length,
      workersKilled: tasks.workersKilled,
      unknown: this.#model.unknown,
      repeated: this.#repeated,
      events: record.events.length,
      interruptions: record.interruptions,
      restartsMs: this.#restartsMs,
      agreementsMs: this.#agreementsMs,
      endsMs: this.#endsMs,
      violations: this.#violations.found,
    };
  }

  #line(round: number): string {
    const { sessions, messages } = this.#model.acknowledged;
    const restart = this.#restartsMs.at(-1) ?? 0;
    return `round ${round}: ${sessions} sessions, ${messages} messages acknowledged; back after ${Math.round(restart)} ms; ${this.#violations.found.length} violations`;
  }
}

interface Parts {
  readonly client: Client;
  readonly record: EventRecord;
  readonly containers: ContainerLoad;
  readonly tasks: TaskLoad;
  readonly processes: readonly ClientProcess[];
}

/** When the server wrote that it serves, milliseconds since 1970. */
function servingAt(logs: string): number {
  const line = logs.split("\n").find((text) => text.includes('"serving"')) ?? "{}";
  const { time } = JSON.parse(line) as { readonly time?: string }; // a line of the server's log
  return Date.parse(time ?? "");
}
