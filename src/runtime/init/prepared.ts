import { setTimeout as delay } from "node:timers/promises";
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
    inspect: (ask) => engine.inspect(id, ask),
  });
}

/** The waits before an engine is asked once more whether a container has ended, in milliseconds. */
const END_WAITS = [5, 10, 20, 40, 80, 160, 320, 640, 1_000] as const;

/** How long the removal of what could not be prepared may take, in milliseconds. */
const UNDO_MS = 60_000;

class PreparedContainer implements Prepared {
  readonly facts: ContainerFacts;
  readonly output: AsyncIterable<OutputChunk>;
  readonly endOutput: () => void;
  readonly gone: Promise<void>;
  readonly #link: InitLink;
  readonly #inspect: (signal: AbortSignal) => Promise<ContainerFacts | undefined>;
  readonly #command: { readonly entrypoint: readonly string[]; readonly args: readonly string[] };

  constructor(parts: {
    readonly facts: ContainerFacts;
    readonly link: InitLink;
    readonly output: AsyncIterable<OutputChunk>;
    readonly command: { readonly entrypoint: readonly string[]; readonly args: readonly string[] };
    readonly end: () => void;
    readonly inspect: (signal: AbortSignal) => Promise<ContainerFacts | undefined>;
  }) {
    this.facts = parts.facts;
    this.output = parts.output;
    this.endOutput = parts.end;
    this.gone = parts.link.ended;
    this.#link = parts.link;
    this.#inspect = parts.inspect;
    this.#command = parts.command;
  }

  get isUsable(): boolean {
    return this.#link.isOpen;
  }

  /** Engines say a moment late that a container has ended; `undefined` when this one goes on. */
  async #untilEnded(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    for (const waitMs of END_WAITS) {
      const facts = await this.#inspect(signal);
      if (facts === undefined || facts.state === "exited") return facts;
      await delay(waitMs);
    }
    return undefined;
  }

  async become({ command, args, env, workingDir }: Process, signal: AbortSignal): Promise<ContainerFacts> {
    const image = this.#command;
    // As an engine has it: a command of the request's own takes the image's arguments away too.
    const words =
      command.length > 0
        ? [...command, ...args]
        : [...image.entrypoint, ...(args.length > 0 ? args : image.args)];
    try {
      await this.#link.claim({ command: words, env, workingDir }, signal);
      return this.facts;
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "unavailable" || signal.aborted) throw error;
      // A command that ends at once ends the container, and with it the init that was to tell of its beginning.
      const ended = await this.#untilEnded(signal);
      if (ended === undefined) throw error;
      return ended;
    }
  }
}
