import { Failure } from "../../src/failure.ts";
import type { NetworkFacts, Networks, VolumeFacts, Volumes } from "../../src/runtime/runtime.ts";
import { carries } from "./fake-watch.ts";

/** What each call of the fake engine begins with. */
type Enter = (call: string, doing: string, signal: AbortSignal) => Promise<void>;

/** The networks of the fake engine; `bridge` and `none` are always there. */
export class FakeNetworks implements Networks {
  readonly #enter: Enter;
  readonly #networks = new Map<string, NetworkFacts>();
  /** How many it has addresses for. */
  most = Number.POSITIVE_INFINITY;

  constructor(enter: Enter) {
    this.#enter = enter;
  }

  has(name: string): boolean {
    return name === "none" || name === "bridge" || this.#networks.has(name);
  }

  async create(spec: NetworkFacts, signal: AbortSignal): Promise<void> {
    const doing = `create network "${spec.name}"`;
    await this.#enter("networks.create", doing, signal);
    if (this.has(spec.name)) throw new Failure("already_exists", `Cannot ${doing}: the name is in use`);
    if (this.#networks.size >= this.most) {
      throw new Failure("resource_exhausted", `Cannot ${doing}: could not find an available address pool`);
    }
    this.#networks.set(spec.name, spec);
  }

  async get(name: string, signal: AbortSignal): Promise<NetworkFacts | undefined> {
    await this.#enter("networks.get", `inspect network "${name}"`, signal);
    return this.#networks.get(name) ?? (this.has(name) ? { name, labels: {} } : undefined);
  }

  async list(labels: Readonly<Record<string, string>>, signal: AbortSignal) {
    await this.#enter("networks.list", "list networks", signal);
    return [...this.#networks.values()].filter((network) => carries(network.labels, labels));
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    await this.#enter("networks.remove", `remove network "${name}"`, signal);
    this.#networks.delete(name);
  }
}

/** The volumes of the fake engine. */
export class FakeVolumes implements Volumes {
  readonly #enter: Enter;
  readonly #inUse: (name: string) => boolean;
  readonly #volumes = new Map<string, VolumeFacts>();

  constructor(enter: Enter, inUse: (name: string) => boolean) {
    this.#enter = enter;
    this.#inUse = inUse;
  }

  add(volume: VolumeFacts): VolumeFacts {
    const known = this.#volumes.get(volume.name) ?? volume;
    this.#volumes.set(volume.name, known);
    return known;
  }

  async create(spec: VolumeFacts, signal: AbortSignal): Promise<VolumeFacts> {
    await this.#enter("volumes.create", `create volume "${spec.name}"`, signal);
    return this.add(spec);
  }

  async list(labels: Readonly<Record<string, string>>, signal: AbortSignal) {
    await this.#enter("volumes.list", "list volumes", signal);
    return [...this.#volumes.values()].filter((volume) => carries(volume.labels, labels));
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    const doing = `remove volume "${name}"`;
    await this.#enter("volumes.remove", doing, signal);
    if (this.#inUse(name)) throw new Failure("failed_precondition", `Cannot ${doing}: a container has it`);
    this.#volumes.delete(name);
  }
}
