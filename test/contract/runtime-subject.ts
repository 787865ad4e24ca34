import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { Failure } from "../../src/failure.ts";
import type {
  Capabilities,
  ContainerFacts,
  ContainerSpec,
  Exec,
  ExecOutcome,
  ExecSpec,
  LogOptions,
  OutputChunk,
  Runtime,
  RuntimeEvent,
  RuntimeId,
} from "../../src/runtime/runtime.ts";

export interface RuntimeSubject {
  readonly runtime: Runtime;
  /** An image that the runtime has: a shell, busybox's commands and a user `app` with the uid 1000. */
  readonly image: string;
  /** Waits until commands in the container are run in the way that is to be tested. */
  readonly readyForCommands?: (id: RuntimeId) => Promise<void>;
}

/** The first use of an engine may install one. */
export const SET_UP_MS = 600_000;

/** What the parts of the suite share: a runtime and everything that makes and cleans up containers in it. */
export class Subject {
  readonly label = { "contract.run": crypto.randomUUID() };
  #made: RuntimeSubject | undefined;
  #capabilities: Capabilities | undefined;
  /** Containers of the test that runs. */
  readonly #ofTest = new Set<RuntimeId>();

  constructor(make: () => Promise<RuntimeSubject>) {
    beforeAll(async () => {
      this.#made = await make();
    }, SET_UP_MS);
    // What was made before all tests is for all of them.
    beforeEach(() => this.#ofTest.clear());
    // At once, since what still runs takes time from the tests that follow.
    afterEach(() => this.#remove([...this.#ofTest]), SET_UP_MS);
    afterAll(async () => {
      if (this.#made === undefined) return;
      await this.#remove((await this.runtime.list(this.label, soon())).map(({ id }) => id));
      await this.runtime[Symbol.asyncDispose]();
    }, SET_UP_MS);
  }

  get runtime(): Runtime {
    return this.#running.runtime;
  }

  /** Which of its promises the engine keeps in its own way. */
  async capabilities(): Promise<Capabilities> {
    this.#capabilities ??= (await this.runtime.info(soon())).capabilities;
    return this.#capabilities;
  }

  /** A container that runs `script` in a shell, with nothing that slows its start. */
  script(script: string, over: Partial<ContainerSpec> = {}): ContainerSpec {
    return {
      name: `contract-${crypto.randomUUID()}`,
      image: this.#running.image,
      command: ["sh", "-c"],
      args: [script],
      env: {},
      workingDir: "",
      mounts: [],
      ports: [],
      networkMode: "none",
      limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwapBytes: 0n, pids: 0n },
      restart: { name: "no", maximumRetryCount: 0 },
      readOnlyRootfs: false,
      dropCapabilities: [],
      noNewPrivileges: false,
      init: false,
      ...over,
      labels: { ...this.label, ...over.labels },
    };
  }

  /** A container in which commands are run. */
  async startedForCommands(spec: ContainerSpec): Promise<RuntimeId> {
    const id = await this.started(spec);
    await this.#running.readyForCommands?.(id);
    return id;
  }

  async created(spec: ContainerSpec): Promise<RuntimeId> {
    const id = await this.runtime.create(spec, soon());
    this.#ofTest.add(id);
    return id;
  }

  async started(spec: ContainerSpec): Promise<RuntimeId> {
    const id = await this.created(spec);
    await this.runtime.start(id, soon());
    return id;
  }

  /** Runs to its end, which is the end of its log. */
  async ran(spec: ContainerSpec): Promise<RuntimeId> {
    const id = await this.started(spec);
    await this.text(id, { follow: true });
    return id;
  }

  async facts(id: RuntimeId): Promise<ContainerFacts> {
    const facts = await this.runtime.inspect(id, soon());
    if (facts === undefined) throw new Error(`there is no container ${id}`);
    return facts;
  }

  logs(id: RuntimeId, over: Partial<LogOptions> = {}, signal = soon()): AsyncIterable<OutputChunk> {
    const options = { follow: false, timestamps: false, stdout: true, stderr: true, ...over };
    return this.runtime.logs(id, options, signal);
  }

  async text(id: RuntimeId, over: Partial<LogOptions> = {}): Promise<string> {
    return text(await all(this.logs(id, over)));
  }

  async exec(
    id: RuntimeId,
    command: readonly string[],
    over: Partial<ExecSpec> = {},
    signal = soon(),
  ): Promise<Exec> {
    const spec = { env: {}, workingDir: "", user: "", tty: false, stdin: false, ...over, command };
    return await this.runtime.exec(id, spec, signal);
  }

  /** Runs a command in a container to its end. */
  async run(id: RuntimeId, command: readonly string[], over: Partial<ExecSpec> = {}): Promise<ExecResult> {
    await using exec = await this.exec(id, command, over);
    return await finish(exec);
  }

  /** A watch that is in force. `until` reads on to the first event that fits. */
  async watching(labels: Readonly<Record<string, string>>, signal = soon()): Promise<Watch> {
    const iterator = this.runtime.watch(labels, signal)[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done === true || first.value.kind !== "watching") throw new Error("the watch is not in force");
    return {
      until: async (fits) => {
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
          if (next.value.kind === "changed" && fits(next.value)) return next.value;
        }
        throw new Error("the watch ended");
      },
      [Symbol.asyncDispose]: async () => {
        await iterator.return?.();
      },
    };
  }

  async #remove(ids: readonly RuntimeId[]): Promise<void> {
    await Promise.all(ids.map((id) => this.runtime.remove(id, soon())));
  }

  get #running(): RuntimeSubject {
    if (this.#made === undefined) throw new Error("the runtime is used before the tests began");
    return this.#made;
  }
}

type Change = Extract<RuntimeEvent, { kind: "changed" }>;

export interface Watch extends AsyncDisposable {
  until(fits: (change: Change) => boolean): Promise<Change>;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly outcome: ExecOutcome;
}

/** Reads an exec to its end. */
export async function finish(exec: Exec): Promise<ExecResult> {
  const chunks = await all(exec.output);
  return {
    stdout: text(chunks.filter(({ stream }) => stream === "stdout")),
    stderr: text(chunks.filter(({ stream }) => stream === "stderr")),
    outcome: await exec.outcome(soon()),
  };
}

/** A signal that ends a test that hangs. */
export function soon(): AbortSignal {
  return AbortSignal.timeout(60_000);
}

export async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of source) values.push(value);
  return values;
}

export function text(chunks: readonly OutputChunk[]): string {
  return bytes(chunks).toString();
}

export function bytes(chunks: readonly OutputChunk[]): Buffer {
  return Buffer.concat(chunks.map(({ data }) => data));
}

/** Reads until what was read contains `words`, and returns all that was read; the rest is left for the next reader. */
export async function readUntil(output: AsyncIterator<OutputChunk>, words: string): Promise<string> {
  let seen = "";
  while (!seen.includes(words)) {
    const next = await output.next();
    if (next.done === true) throw new Error(`the output ended before "${words}": ${seen}`);
    seen += Buffer.from(next.value.data).toString();
  }
  return seen;
}

/** The Failure that a call rejects with. */
export async function failure(call: Promise<unknown>): Promise<Failure> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("the call succeeded");
}
