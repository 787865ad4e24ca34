import { Failure } from "../../failure.ts";
import type { ContainerSpec, Exec, ExecSpec, OutputChunk, RuntimeId } from "../runtime.ts";
import { InitLink } from "./init-link.ts";

/** Where the init lies in a container. */
const INIT_PATH = "/.baaaht/init";
/** What the first process of a prepared container runs. */
export const HOLD = [INIT_PATH, "hold"] as const;

/** Connections at once; containers beyond it are served by the engine's own execs. */
const MAX_LINKS = 512;
/** How long an init may take to answer, in milliseconds. */
const OPEN_MS = 15_000;
/** Containers without an init that are remembered, so that none is looked for in them again and again. */
const MAX_WITHOUT = 4_096;

type EngineExec = (id: RuntimeId, spec: ExecSpec, signal: AbortSignal) => Promise<Exec>;

/**
 * The inits in an engine's containers, and commands that are run by them. An exec of the engine takes some 60 ms, nearly
 * all of it its own; a process that is in the container already starts a command in one or two. A container gets a
 * connection when its first command has ended, since many never have a second one, or when it is prepared.
 */
export class Inits implements AsyncDisposable {
  readonly #file: string;
  readonly #exec: EngineExec;
  readonly #links = new Map<RuntimeId, InitLink>();
  readonly #opening = new Map<RuntimeId, Promise<void>>();
  readonly #without = new Set<RuntimeId>();
  readonly #closing = new AbortController();
  /** Whether the engine has refused a container because of the init. */
  #refused = false;

  /**
   * @param file the init, as the engine's machine has it
   * @param exec the engine's own way
   */
  constructor(file: string, exec: EngineExec) {
    this.#file = file;
    this.#exec = exec;
  }

  /** The same container with the init in it, which it can read and not change. */
  withInit(spec: ContainerSpec): ContainerSpec {
    const isTaken = spec.mounts.some(({ target }) => `${target}/`.startsWith("/.baaaht/"));
    if (isTaken || this.#refused) return spec;
    const mount = { kind: "bind", source: this.#file, target: INIT_PATH, readOnly: true } as const;
    return { ...spec, mounts: [...spec.mounts, mount] };
  }

  /** Whether the engine has refused a container because of the init, as one does that can't see it; from then on none gets it. */
  isToBlame(error: unknown): boolean {
    const isIts =
      error instanceof Failure && [this.#file, INIT_PATH].some((path) => error.message.includes(path));
    this.#refused ||= isIts;
    return isIts;
  }

  /** As Runtime.exec: over the container's init where it can, which is what a plain command of the container's user is. */
  async exec(id: RuntimeId, spec: ExecSpec, signal: AbortSignal): Promise<Exec> {
    const link = spec.user === "" ? this.#links.get(id) : undefined;
    if (link?.isOpen) await spec.after;
    const quick = link?.isOpen ? await link.start(spec, signal) : undefined;
    if (quick !== undefined) return quick;
    const exec = await this.#exec(id, spec, signal);
    return link === undefined ? afterOutput(exec, () => this.#openSoon(id)) : exec;
  }

  /**
   * A connection to the init in a container that has just been started.
   *
   * Failures: UNAVAILABLE when there is no init in it or it does not answer, or as the engine's exec.
   */
  async open(id: RuntimeId, signal: AbortSignal): Promise<InitLink> {
    const command = [INIT_PATH, "serve"];
    const spec = { command, env: {}, workingDir: "", user: "", tty: false, stdin: true };
    const link = await InitLink.open((living) => this.#exec(id, spec, living), signal);
    this.#links.set(id, link);
    void link.ended.then(() => {
      if (this.#links.get(id) === link) this.#links.delete(id);
    });
    return link;
  }

  /** Has a command end that a prepared container was claimed for, if it waits for that. */
  letGo(id: RuntimeId): void {
    this.#links.get(id)?.letGo();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#opening.values());
    await Promise.all([...this.#links.values()].map((link) => link[Symbol.asyncDispose]()));
  }

  #openSoon(id: RuntimeId): void {
    if (this.#closing.signal.aborted || this.#links.has(id) || this.#opening.has(id) || this.#without.has(id))
      return;
    if (this.#links.size + this.#opening.size >= MAX_LINKS) return;
    const opening = this.#openOrForget(id).finally(() => this.#opening.delete(id));
    this.#opening.set(id, opening);
  }

  async #openOrForget(id: RuntimeId): Promise<void> {
    try {
      await this.open(id, AbortSignal.any([this.#closing.signal, AbortSignal.timeout(OPEN_MS)]));
    } catch (error) {
      // It was made without, has ended, or can't run it: the engine's own way is there.
      if (!(error instanceof Failure)) throw error;
      if (this.#without.size >= MAX_WITHOUT) this.#without.clear();
      this.#without.add(id);
    }
  }
}

/** The same exec; `then` is called when its output has ended. */
function afterOutput(exec: Exec, then: () => void): Exec {
  async function* output(): AsyncGenerator<OutputChunk> {
    yield* exec.output;
    then();
  }
  return {
    id: exec.id,
    output: output(),
    write: (data, signal) => exec.write(data, signal),
    closeStdin: () => exec.closeStdin(),
    resize: (size, signal) => exec.resize(size, signal),
    signal: (name, signal) => exec.signal(name, signal),
    outcome: (signal) => exec.outcome(signal),
    [Symbol.asyncDispose]: () => exec[Symbol.asyncDispose](),
  };
}
