import { abortFailure, Failure } from "../../src/failure.ts";
import type {
  ContainerFacts,
  ContainerSpec,
  CopyInto,
  EngineInfo,
  Exec,
  ExecSpec,
  LogOptions,
  MountSpec,
  OutputChunk,
  PathStat,
  PortHolder,
  PortSpec,
  PullProgress,
  ResourceReading,
  Runtime,
  RuntimeEvent,
  RuntimeHost,
  RuntimeId,
} from "../../src/runtime/runtime.ts";
import { FakeContainer } from "./fake-container.ts";
import { FakeExec } from "./fake-exec.ts";
import { unlessAborted } from "./fake-pipe.ts";
import { signalNumber } from "./fake-process.ts";
import { knows } from "./fake-shell.ts";
import { FakeNetworks, FakeVolumes } from "./fake-surroundings.ts";
import { carries, FakeWatch } from "./fake-watch.ts";

/**
 * A container engine in memory that keeps the promises of Runtime, with a tiny shell for commands and with faults to
 * switch on. Restart policies, limits and mounts are taken and do nothing; networks and volumes are names that are
 * there or not.
 *
 * @example
 * const runtime = new FakeRuntime({ images: ["demo:1"] });
 * runtime.goDown("nothing listens there");
 */
export class FakeRuntime implements Runtime {
  readonly endpoint = "fake://engine";
  host: RuntimeHost = { kind: "this", socketPath: "/run/fake-engine.sock" };
  readonly networks = new FakeNetworks((call, doing, signal) => this.#enter(call, doing, signal));
  readonly volumes = new FakeVolumes(
    (call, doing, signal) => this.#enter(call, doing, signal),
    (name) => this.#specs().some(({ mounts }) => mounts.some((mount) => volumeOf(mount) === name)),
  );
  /** Calls are answered after so many milliseconds. */
  delayMs = 0;
  /** How often each call was made, by its name. */
  readonly calls = new Map<string, number>();
  readonly #images = new Map<string, string>();
  readonly #registry: Set<string>;
  readonly #containers = new Map<RuntimeId, FakeContainer>();
  readonly #watches = new Set<FakeWatch>();
  readonly #failNext = new Map<string, Failure>();
  #down: string | undefined;
  /** Ends what streams when the engine goes down. */
  #up = new AbortController();
  #engineId: string = crypto.randomUUID();

  constructor(options: { readonly images?: readonly string[]; readonly registry?: readonly string[] } = {}) {
    for (const image of options.images ?? []) this.#images.set(image, digestOf(image));
    this.#registry = new Set(options.registry ?? []);
  }

  /** How many commands run in containers now, besides what the containers are there for. */
  get running(): number {
    return [...this.#containers.values()].reduce((sum, { execs }) => sum + execs.size, 0);
  }

  /** From now on every call is UNAVAILABLE, and what streams ends so. Containers run on. */
  goDown(why: string): void {
    this.#down = why;
    this.#up.abort(this.#unavailable("read from the container engine"));
    this.loseWatches();
  }

  /** Answers again. `emptied`: as another engine, without a container. */
  async comeUp(options: { readonly emptied: boolean } = { emptied: false }): Promise<void> {
    this.#down = undefined;
    this.#up = new AbortController();
    if (!options.emptied) return;
    this.#engineId = crypto.randomUUID();
    for (const id of [...this.#containers.keys()]) await this.remove(id, new AbortController().signal);
  }

  /** Every watch that is open throws UNAVAILABLE. */
  loseWatches(): void {
    for (const watch of this.#watches) watch.lose(this.#unavailable("watch containers"));
  }

  /** Gives a container another name, as a person at the engine may. */
  rename(id: RuntimeId, name: string): void {
    const container = this.#find(id, `rename ${named(id)}`);
    container.name = name;
    this.#tell(container, "rename");
  }

  /** What a container is measured with from now on. */
  use(id: RuntimeId, using: Partial<ResourceReading>): void {
    this.#find(id, `measure ${named(id)}`).using = using;
  }

  /** The next call of this name (`start`, `create`, …) fails with it and does nothing. */
  failNext(call: string, failure: Failure): void {
    this.#failNext.set(call, failure);
  }

  async info(signal: AbortSignal): Promise<EngineInfo> {
    await this.#enter("info", "ask the container engine who it is", signal);
    return {
      name: "fake",
      version: "1.0",
      apiVersion: "1",
      engineId: this.#engineId,
      cpus: 2,
      memoryBytes: 2 ** 33,
      capabilities: { logTimeMs: 1, keepsStartError: true, tellsOom: true, copiesLinks: true },
    };
  }

  async imageDigest(image: string, signal: AbortSignal): Promise<string | undefined> {
    await this.#enter("imageDigest", `inspect image "${image}"`, signal);
    return this.#images.get(image);
  }

  async *pull(image: string, signal: AbortSignal): AsyncGenerator<PullProgress> {
    const doing = `pull image "${image}"`;
    await this.#enter("pull", doing, signal);
    if (!/^[a-z0-9][a-z0-9./:@_-]*$/.test(image)) {
      throw new Failure("invalid_argument", `Cannot ${doing}: invalid reference format`);
    }
    if (!this.#registry.has(image))
      throw new Failure("not_found", `Cannot ${doing}: repository does not exist`);
    yield { status: "Downloading", layer: "layer", currentBytes: 1, totalBytes: 2 };
    this.#images.set(image, digestOf(image));
    yield {
      status: "Pull complete",
      layer: "layer",
      currentBytes: 2,
      totalBytes: 2,
      digest: digestOf(image),
    };
  }

  async create(spec: ContainerSpec, signal: AbortSignal): Promise<RuntimeId> {
    const doing = `create container "${spec.name}"`;
    await this.#enter("create", doing, signal);
    const digest = this.#images.get(spec.image);
    if (digest === undefined) throw new Failure("not_found", `Cannot ${doing}: No such image: ${spec.image}`);
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(spec.name)) {
      throw new Failure("invalid_argument", `Cannot ${doing}: Invalid container name`);
    }
    if ([...this.#containers.values()].some(({ name }) => name === spec.name)) {
      throw new Failure("already_exists", `Cannot ${doing}: the name is in use`);
    }
    for (const name of spec.networks ?? []) {
      if (!this.networks.has(name))
        throw new Failure("not_found", `Cannot ${doing}: network ${name} not found`);
    }
    for (const mount of spec.mounts) {
      const name = volumeOf(mount);
      if (name !== "") this.volumes.add({ name, labels: {} });
    }
    const container = new FakeContainer(spec, digest);
    this.#containers.set(container.id, container);
    this.#tell(container, "create");
    return container.id;
  }

  async start(id: RuntimeId, signal: AbortSignal): Promise<void> {
    const doing = `start ${named(id)}`;
    await this.#enter("start", doing, signal);
    const container = this.#find(id, doing);
    if (container.state === "running") return;
    if (container.state === "paused") throw refused(doing, "it is paused");
    const program = container.spec.command[0] ?? container.spec.args[0] ?? "";
    if (!knows(program)) {
      container.error = `exec: "${program}": executable file not found in $PATH`;
      throw refused(doing, container.error);
    }
    if (!this.networks.has(container.spec.networkMode)) {
      throw refused(doing, `network ${container.spec.networkMode} not found`);
    }
    const taken = container.spec.ports.find((port) => port.hostPort > 0 && this.#holders(port).length > 0);
    if (taken !== undefined) throw portInUse(doing, taken);
    container.onOutOfMemory = () => this.#tell(container, "oom");
    container.run(() => this.#tell(container, "die"));
    this.#tell(container, "start");
  }

  async stop(id: RuntimeId, { graceMs }: { readonly graceMs: number }, signal: AbortSignal): Promise<void> {
    const doing = `stop ${named(id)}`;
    await this.#enter("stop", doing, signal);
    const container = this.#find(id, doing);
    const { process } = container;
    if (!container.isLive || process === undefined) return;
    this.#thaw(container);
    process.signal(15);
    await this.#wait(Promise.race([process.exited, Bun.sleep(graceMs)]), signal); // as engines do
    process.signal(9);
    await this.#wait(process.exited, signal);
    this.#tell(container, "stop");
  }

  async kill(
    id: RuntimeId,
    { signalName }: { readonly signalName: string },
    signal: AbortSignal,
  ): Promise<void> {
    const doing = `send ${signalName} to ${named(id)}`;
    await this.#enter("kill", doing, signal);
    const container = this.#find(id, doing);
    const number = signalNumber(signalName);
    if (number === undefined)
      throw new Failure("invalid_argument", `Cannot ${doing}: Invalid signal: ${signalName}`);
    if (!container.isLive) throw refused(doing, "it is not running");
    this.#tell(container, "kill");
    container.process?.signal(number);
  }

  async pause(id: RuntimeId, signal: AbortSignal): Promise<void> {
    const doing = `pause ${named(id)}`;
    await this.#enter("pause", doing, signal);
    const container = this.#find(id, doing);
    if (container.state !== "running") throw refused(doing, `it is ${container.state}`);
    container.state = "paused";
    container.process?.freeze();
    this.#tell(container, "pause");
  }

  async resume(id: RuntimeId, signal: AbortSignal): Promise<void> {
    const doing = `resume ${named(id)}`;
    await this.#enter("resume", doing, signal);
    const container = this.#find(id, doing);
    if (container.state !== "paused") throw refused(doing, "it is not paused");
    this.#thaw(container);
  }

  async remove(id: RuntimeId, signal: AbortSignal): Promise<void> {
    await this.#enter("remove", `remove ${named(id)}`, signal);
    const container = this.#named(id);
    if (container === undefined) return;
    if (container.isLive) {
      container.process?.signal(9);
      await this.#wait(container.process?.exited ?? Promise.resolve(0), signal);
    }
    if (this.#containers.delete(container.id)) this.#tell(container, "destroy");
  }

  async inspect(id: RuntimeId, signal: AbortSignal): Promise<ContainerFacts | undefined> {
    await this.#enter("inspect", `inspect ${named(id)}`, signal);
    return this.#named(id)?.facts();
  }

  async portHolders(
    port: Pick<PortSpec, "hostPort" | "protocol">,
    signal: AbortSignal,
  ): Promise<readonly PortHolder[]> {
    await this.#enter("portHolders", "list containers", signal);
    return this.#holders(port).map(({ name, spec: { labels } }) => ({ name, labels }));
  }

  async list(
    labels: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<readonly ContainerFacts[]> {
    await this.#enter("list", "list containers", signal);
    return [...this.#containers.values()]
      .filter(({ spec }) => carries(spec.labels, labels))
      .map((one) => one.facts());
  }

  async attach(id: RuntimeId, signal: AbortSignal): Promise<AsyncIterable<OutputChunk>> {
    const doing = `attach to ${named(id)}`;
    await this.#enter("attach", doing, signal);
    return this.#attached(this.#find(id, doing), AbortSignal.any([signal, this.#up.signal]));
  }

  async stats(id: RuntimeId, signal: AbortSignal): Promise<ResourceReading> {
    const doing = `measure ${named(id)}`;
    await this.#enter("stats", doing, signal);
    const container = this.#find(id, doing);
    if (!container.isLive) throw refused(doing, "it is not running");
    return container.reading();
  }

  async stat(id: RuntimeId, path: string, signal: AbortSignal): Promise<PathStat | undefined> {
    const doing = `look at "${path}" in ${named(id)}`;
    await this.#enter("stat", doing, signal);
    return this.#find(id, doing).files.stat(path);
  }

  async copyIn(
    id: RuntimeId,
    into: CopyInto,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const doing = `copy into "${into.path}" in ${named(id)}`;
    await this.#enter("copyIn", doing, signal);
    await this.#wait(this.#find(id, doing).files.unpack(into, archive, doing), signal);
  }

  async copyOut(id: RuntimeId, path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const doing = `copy "${path}" from ${named(id)}`;
    await this.#enter("copyOut", doing, signal);
    return this.#find(id, doing).files.archive(path, doing);
  }

  async *logs(id: RuntimeId, options: LogOptions, signal: AbortSignal): AsyncGenerator<OutputChunk> {
    const doing = `read the log of ${named(id)}`;
    await this.#enter("logs", doing, signal);
    const ends = AbortSignal.any([signal, this.#up.signal]);
    try {
      yield* this.#find(id, doing).read(options, ends);
    } catch (thrown) {
      throw ends.aborted ? abortFailure(ends) : thrown;
    }
  }

  async *#attached(container: FakeContainer, ends: AbortSignal): AsyncGenerator<OutputChunk> {
    try {
      yield* container.attached(ends);
    } catch (thrown) {
      throw ends.aborted ? abortFailure(ends) : thrown;
    }
  }

  async exec(id: RuntimeId, spec: ExecSpec, signal: AbortSignal): Promise<Exec> {
    const doing = `run a command in ${named(id)}`;
    await this.#enter("exec", doing, signal);
    await spec.after;
    const container = this.#find(id, doing);
    if (container.state !== "running") throw refused(doing, `it is ${container.state}`);
    const { process } = container;
    const ask = async (asking: AbortSignal): Promise<"known" | "forgotten"> => {
      await this.#enter("exec-inspect", doing, asking);
      return this.#containers.has(container.id) && container.process === process ? "known" : "forgotten";
    };
    const stream = AbortSignal.any([signal, this.#up.signal]);
    return new FakeExec({ container, spec, signal: stream, ask, aborted: abortFailure });
  }

  async *watch(labels: Readonly<Record<string, string>>, signal: AbortSignal): AsyncGenerator<RuntimeEvent> {
    await this.#enter("watch", "watch containers", signal);
    const watch = new FakeWatch(labels);
    this.#watches.add(watch);
    try {
      yield { kind: "watching" };
      for (;;) yield await this.#wait(watch.next(), signal);
    } finally {
      this.#watches.delete(watch);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process } of this.#containers.values()) process?.signal(9);
    this.loseWatches();
  }

  async #enter(call: string, doing: string, signal: AbortSignal): Promise<void> {
    this.calls.set(call, (this.calls.get(call) ?? 0) + 1);
    if (signal.aborted) throw abortFailure(signal);
    await this.#wait(Bun.sleep(this.delayMs), signal); // a slow engine, when a test wants one
    if (this.#down !== undefined) throw this.#unavailable(doing);
    const failure = this.#failNext.get(call);
    this.#failNext.delete(call);
    if (failure !== undefined) throw failure;
  }

  async #wait<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await unlessAborted(promise, signal);
    } catch (thrown) {
      throw signal.aborted ? abortFailure(signal) : thrown;
    }
  }

  #specs(): readonly ContainerSpec[] {
    return [...this.#containers.values()].map(({ spec }) => spec);
  }

  #holders(wanted: Pick<PortSpec, "hostPort" | "protocol">): readonly FakeContainer[] {
    return [...this.#containers.values()].filter(
      (container) =>
        container.isLive &&
        container
          .facts()
          .ports.some((port) => port.hostPort === wanted.hostPort && port.protocol === wanted.protocol),
    );
  }

  /** By its id or its name. */
  #named(id: RuntimeId): FakeContainer | undefined {
    const byId = this.#containers.get(id);
    return byId ?? [...this.#containers.values()].find(({ name }) => name === id);
  }

  #find(id: RuntimeId, doing: string): FakeContainer {
    const container = this.#named(id);
    if (container === undefined) throw new Failure("not_found", `Cannot ${doing}: No such container: ${id}`);
    return container;
  }

  #thaw(container: FakeContainer): void {
    if (container.state !== "paused") return;
    container.state = "running";
    container.process?.thaw();
    this.#tell(container, "unpause");
  }

  #tell({ id, spec: { labels } }: FakeContainer, action: string): void {
    const event: RuntimeEvent = { kind: "changed", id, action, labels, at: Date.now() };
    for (const watch of this.#watches) if (carries(labels, watch.labels)) watch.tell(event);
  }

  #unavailable(doing: string): Failure {
    const why = this.#down ?? "it ended its stream of events";
    return new Failure(
      "unavailable",
      `Cannot ${doing}: the container engine at ${this.endpoint} can't be used: ${why}`,
      {
        reason: "RUNTIME_UNAVAILABLE",
        metadata: { endpoint: this.endpoint },
      },
    );
  }
}

function digestOf(image: string): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(image).digest("hex")}`;
}

function named(id: RuntimeId): string {
  return `container "${id.slice(0, 12)}"`;
}

function volumeOf(mount: MountSpec): string {
  return mount.kind === "volume" ? mount.source : "";
}

function portInUse(doing: string, { hostIp, hostPort }: PortSpec): Failure {
  const why = `Bind for ${hostIp}:${hostPort} failed: port is already allocated`;
  const metadata = { port: String(hostPort) };
  return new Failure("failed_precondition", `Cannot ${doing}: ${why}`, { reason: "PORT_IN_USE", metadata });
}

function refused(doing: string, why: string): Failure {
  return new Failure("failed_precondition", `Cannot ${doing}: ${why}`);
}
