import { Failure } from "../../failure.ts";
import type {
  Becoming,
  ContainerFacts,
  ContainerSpec,
  LimitSpec,
  OutputChunk,
  Prepared,
  RuntimeId,
} from "../runtime.ts";
import type { InitLink } from "./init-link.ts";
import { HOLD, type Inits } from "./inits.ts";

/** What of an engine is needed to prepare a container. */
export interface PreparingEngine {
  readonly create: (spec: ContainerSpec, signal: AbortSignal) => Promise<RuntimeId>;
  readonly attach: (id: RuntimeId, signal: AbortSignal) => Promise<AsyncIterable<OutputChunk>>;
  readonly start: (id: RuntimeId, signal: AbortSignal) => Promise<void>;
  readonly inspect: (id: RuntimeId, signal: AbortSignal) => Promise<ContainerFacts | undefined>;
  readonly remove: (id: RuntimeId, signal: AbortSignal) => Promise<void>;
  /** What the image says is to be run. */
  readonly imageCommand: (
    digest: string,
    signal: AbortSignal,
  ) => Promise<{ readonly entrypoint: readonly string[]; readonly args: readonly string[] }>;
  /** Whether a container that runs can get other limits and networks. */
  readonly changesRunning: (signal: AbortSignal) => Promise<boolean>;
  readonly limit: (id: RuntimeId, limits: LimitSpec, signal: AbortSignal) => Promise<void>;
  readonly connect: (
    id: RuntimeId,
    to: { readonly aliases: readonly string[] | undefined; readonly networks: readonly string[] },
    signal: AbortSignal,
  ) => Promise<void>;
  readonly disconnect: (id: RuntimeId, network: string, signal: AbortSignal) => Promise<void>;
}

/** Makes and starts a container that waits in the init; none where the engine can't do it. Leaves nothing when it fails. */
export async function prepareContainer(
  engine: PreparingEngine,
  inits: Inits,
  spec: ContainerSpec,
  signal: AbortSignal,
): Promise<Prepared | undefined> {
  const changes = await engine.changesRunning(signal);
  if (!changes && spec.networkMode !== "none") return undefined;
  const { aliases: _, networks: __, ...rest } = spec;
  const held = inits.withInit({
    ...{ ...rest, networkMode: "none" },
    ...{ command: HOLD, args: [], env: {}, workingDir: "" },
  });
  await using stack = new AsyncDisposableStack();
  // By its name: the engine may make it although its answer never comes.
  stack.defer(() => engine.remove(spec.name as RuntimeId, AbortSignal.timeout(UNDO_MS))); // as: a name works wherever an id does
  const id = await engine.create(held, signal);
  const living = new AbortController();
  stack.defer(() => living.abort());
  const output = await engine.attach(id, living.signal);
  await engine.start(id, signal);
  // In none it could get no other; out of it, it has no network either, and nothing to reach anybody by.
  if (spec.networkMode !== "none") await engine.disconnect(id, "none", signal);
  const facts = await engine.inspect(id, signal);
  if (facts?.state !== "running") {
    const state = facts?.state ?? "gone";
    throw new Failure(
      "failed_precondition",
      `Cannot prepare container "${spec.name}": it was started, and is ${state}`,
    );
  }
  const command = await engine.imageCommand(facts.imageDigest, signal);
  const link = stack.use(await inits.open(id, signal));
  stack.move();
  return new PreparedContainer({
    engine,
    changes,
    spec,
    facts,
    link,
    output,
    command,
    end: () => living.abort(),
  });
}

/** How long the removal of what could not be prepared may take, in milliseconds. */
const UNDO_MS = 60_000;

type Preparing = Pick<PreparingEngine, "limit" | "connect">;

class PreparedContainer implements Prepared {
  readonly #engine: Preparing;
  readonly #changes: boolean;
  readonly #spec: ContainerSpec;
  readonly facts: ContainerFacts;
  readonly output: AsyncIterable<OutputChunk>;
  readonly endOutput: () => void;
  readonly gone: Promise<void>;
  readonly #link: InitLink;
  readonly #pieces: AsyncIterator<OutputChunk>;
  #first: Promise<IteratorResult<OutputChunk>> | undefined;
  readonly #command: { readonly entrypoint: readonly string[]; readonly args: readonly string[] };

  constructor(parts: {
    readonly engine: Preparing;
    readonly changes: boolean;
    readonly spec: ContainerSpec;
    readonly facts: ContainerFacts;
    readonly link: InitLink;
    readonly output: AsyncIterable<OutputChunk>;
    readonly command: { readonly entrypoint: readonly string[]; readonly args: readonly string[] };
    readonly end: () => void;
  }) {
    this.#engine = parts.engine;
    this.#changes = parts.changes;
    this.#spec = parts.spec;
    this.facts = parts.facts;
    this.#pieces = parts.output[Symbol.asyncIterator]();
    this.output = this.#whole();
    this.endOutput = parts.end;
    this.gone = parts.link.ended;
    this.#link = parts.link;
    this.#command = parts.command;
  }

  get isUsable(): boolean {
    return this.#link.isOpen;
  }

  /** All of the output; it is read from the moment on when the command is to begin. */
  async *#whole(): AsyncGenerator<OutputChunk> {
    try {
      let piece = await (this.#first ?? this.#pieces.next());
      while (piece.done !== true) {
        yield piece.value;
        piece = await this.#pieces.next();
      }
    } finally {
      this.endOutput();
    }
  }

  suits({ limits, networkMode }: Becoming): boolean {
    const had = this.#spec.limits;
    const networks = (networkMode === "none") === (this.#spec.networkMode === "none");
    return (
      networks &&
      limitNames.every((name) => limits[name] === had[name] || (this.#changes && limits[name] > 0n))
    );
  }

  async become(
    becoming: Becoming,
    { onEnding }: { readonly onEnding: ((letGo: () => void) => void) | undefined },
    signal: AbortSignal,
  ): Promise<ContainerFacts> {
    await this.#surround(becoming, signal);
    const { command, args, env, workingDir } = becoming;
    const image = this.#command;
    // As an engine has it: a command of the request's own takes the image's arguments away too.
    const words =
      command.length > 0
        ? [...command, ...args]
        : [...image.entrypoint, ...(args.length > 0 ? args : image.args)];
    const claimed = this.#link.claim(
      { command: words, env, workingDir },
      { onEnding: mayBeHeld(becoming) ? onEnding : undefined },
      signal,
    );
    this.#first = this.#pieces.next();
    await Promise.race([claimed, writes(this.#first, claimed)]);
    return this.facts;
  }

  /** Gives it the limits and networks that it has not. What the engine refuses, it refuses before anything has begun. */
  async #surround({ limits, networkMode, networks, aliases }: Becoming, signal: AbortSignal): Promise<void> {
    const { id } = this.facts;
    const isOther = limitNames.some((name) => limits[name] !== this.#spec.limits[name]);
    const to = { aliases, networks: networkMode === "none" ? [] : [networkMode, ...(networks ?? [])] };
    try {
      await Promise.all([
        isOther ? this.#engine.limit(id, limits, signal) : undefined,
        this.#engine.connect(id, to, signal),
      ]);
    } catch (error) {
      if (!(error instanceof Failure) || signal.aborted || error.kind === "unavailable") throw error;
      throw new Failure("failed_precondition", error.message, { cause: error });
    }
  }
}

/** A container of fewer processes and threads than this needs them all itself: one holds up its end. */
const leastPidsToHold = 32n;

function mayBeHeld({ limits: { pids } }: Becoming): boolean {
  return pids === 0n || pids >= leastPidsToHold;
}

const limitNames = ["nanoCpu", "memoryBytes", "memorySwapBytes", "pids"] as const;

/**
 * Resolves when a command has written something, by which it has begun: that is heard of before the engine tells that the
 * connection to the init went with a command that ended at once. What else there is of `claimed` is then of no matter.
 */
async function writes(first: Promise<IteratorResult<OutputChunk>>, claimed: Promise<void>): Promise<void> {
  try {
    const { done } = await first;
    if (done !== true) return void claimed.catch(() => {});
  } catch {
    // whoever reads the output is told
  }
  return await claimed;
}
