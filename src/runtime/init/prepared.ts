import { Failure } from "../../failure.ts";
import type { ContainerFacts, ContainerSpec, OutputChunk, Prepared, Process, RuntimeId } from "../runtime.ts";
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
}

/** Makes and starts a container that waits in the init. Leaves nothing when it fails. */
export async function prepareContainer(
  engine: PreparingEngine,
  inits: Inits,
  spec: ContainerSpec,
  signal: AbortSignal,
): Promise<Prepared> {
  const held = inits.withInit({ ...spec, command: HOLD, args: [], env: {}, workingDir: "" });
  await using stack = new AsyncDisposableStack();
  // By its name: the engine may make it although its answer never comes.
  stack.defer(() => engine.remove(spec.name as RuntimeId, AbortSignal.timeout(UNDO_MS))); // as: a name works wherever an id does
  const id = await engine.create(held, signal);
  const living = new AbortController();
  stack.defer(() => living.abort());
  const output = await engine.attach(id, living.signal);
  await engine.start(id, signal);
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
    facts,
    link,
    output,
    command,
    end: () => living.abort(),
  });
}

/** How long the removal of what could not be prepared may take, in milliseconds. */
const UNDO_MS = 60_000;

class PreparedContainer implements Prepared {
  readonly facts: ContainerFacts;
  readonly output: AsyncIterable<OutputChunk>;
  readonly endOutput: () => void;
  readonly gone: Promise<void>;
  readonly #link: InitLink;
  readonly #pieces: AsyncIterator<OutputChunk>;
  #first: Promise<IteratorResult<OutputChunk>> | undefined;
  readonly #command: { readonly entrypoint: readonly string[]; readonly args: readonly string[] };

  constructor(parts: {
    readonly facts: ContainerFacts;
    readonly link: InitLink;
    readonly output: AsyncIterable<OutputChunk>;
    readonly command: { readonly entrypoint: readonly string[]; readonly args: readonly string[] };
    readonly end: () => void;
  }) {
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

  async become(
    { command, args, env, workingDir }: Process,
    { onEnding }: { readonly onEnding: (letGo: () => void) => void },
    signal: AbortSignal,
  ): Promise<ContainerFacts> {
    const image = this.#command;
    // As an engine has it: a command of the request's own takes the image's arguments away too.
    const words =
      command.length > 0
        ? [...command, ...args]
        : [...image.entrypoint, ...(args.length > 0 ? args : image.args)];
    const claimed = this.#link.claim({ command: words, env, workingDir }, { onEnding }, signal);
    this.#first = this.#pieces.next();
    await Promise.race([claimed, writes(this.#first, claimed)]);
    return this.facts;
  }
}

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
