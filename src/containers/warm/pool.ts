import type { Background } from "../../background.ts";
import { Bell } from "../../events/bell.ts";
import type { Instant } from "../../events/event.ts";
import { Failure } from "../../failure.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type ContainerId, engineLabels, engineName } from "../container.ts";
import type { OneAtATime } from "../one-at-a-time.ts";
import type { HardenedSpec } from "../policy/policy.ts";
import { ImageLooks } from "./image-looks.ts";
import { Rush } from "./rush.ts";
import { Shape, type ShapeOptions, shapeKey, type Taken } from "./shape.ts";

export interface PoolOptions extends ShapeOptions {
  /** Over all shapes; 0: none are prepared. */
  readonly maxContainers: number;
}

export interface PoolParts {
  readonly runtime: Runtime;
  readonly clock: () => Instant;
  readonly background: Background;
  readonly locks: OneAtATime;
  readonly install: string;
  /** For one engine call. Milliseconds. */
  readonly operationMs: number;
  /** Whether the engine can be used now. */
  readonly isUp: () => boolean;
  /** Hears why one could not be prepared. */
  readonly onRefused: (image: string, why: Failure) => void;
  /** What containers are like that are prepared whether or not anybody has asked for one. */
  readonly configured: readonly HardenedSpec[];
}

/** How long after a container was taken the next one is prepared, in milliseconds: the engine works for its taker first. */
const settleMs = 150;
/** How long that may put off the next one when containers are taken all the time, in milliseconds. */
const maxSettleMs = 600;
/** How long a shape is left alone when it could not be prepared, in milliseconds. */
const retryMs = 30_000;
/** How often it is looked whether something has become idle, in milliseconds. */
const lookMs = 30_000;
/** Shapes that are remembered; the one that was asked for longest ago goes first. */
const maxShapes = 64;
/** What the removal of what is left may take when the server stops, in milliseconds. */
const lastRemovalMs = 2_500;

/**
 * Containers that are prepared before anybody asks for them: made, started, and waiting to be told what to run. Each
 * serves one session and is removed after it, like any other. What is prepared is what was asked for lately, or is
 * configured. An id is given when a container is prepared, and held until it is taken, so that nobody takes it for one
 * that is left over.
 */
export class Pool {
  readonly #parts: PoolParts;
  readonly #options: PoolOptions;
  readonly #shapes = new Map<string, Shape>();
  readonly #bell = new Bell();
  readonly rush = new Rush(this.#bell.ring);
  readonly imageLooks: ImageLooks;
  /** When one was asked for since the last was prepared: first and last. */
  #asked: { readonly first: Instant; readonly last: Instant } | undefined;

  constructor(parts: PoolParts, options: PoolOptions) {
    this.#parts = parts;
    this.#options = options;
    const { runtime, operationMs } = parts;
    this.imageLooks = new ImageLooks((image) => runtime.imageDigest(image, AbortSignal.timeout(operationMs)));
    for (const spec of parts.configured) this.#shapeOf(spec).configure();
  }

  /** How many wait now. */
  get waiting(): number {
    return [...this.#shapes.values()].reduce((sum, { waiting }) => sum + waiting.length, 0);
  }

  /** Looks again at what is wanted; the engine may be back. */
  wake(): void {
    this.#bell.ring();
  }

  /** One that fits, if there is one. That it was asked for is remembered either way. */
  take(spec: HardenedSpec): Taken | undefined {
    if (this.#options.maxContainers === 0 || this.#parts.runtime.prepare === undefined) return undefined;
    if (!canBePrepared(spec)) return undefined;
    const shape = this.#shapeOf(spec);
    const now = this.#parts.clock();
    this.#asked = { first: this.#asked?.first ?? now, last: now };
    shape.asked(now, spec);
    this.#bell.ring();
    return shape.take(spec);
  }

  /** Puts one back that was not used after all. */
  giveBack(taken: Taken): void {
    const shape = [...this.#shapes.values()].find((one) => taken.fits(one.spec));
    if (shape === undefined || !taken.prepared.isUsable)
      this.#parts.background.start("remove a prepared container", () => this.#remove(taken));
    else shape.waiting.unshift(taken);
  }

  /** Removes from the engine what is of no use any more; its lock is given back by whoever has it. */
  async discard({ id }: Pick<Taken, "id">): Promise<void> {
    await this.#parts.runtime.remove(engineName(id), AbortSignal.timeout(this.#parts.operationMs));
  }

  /** Prepares what is wanted until the signal aborts, and then removes what waits. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.maxContainers === 0 || this.#parts.runtime.prepare === undefined) return;
    signal.addEventListener("abort", this.#bell.ring, { once: true });
    try {
      while (!signal.aborted) {
        const now = this.#parts.clock();
        this.#dropIdle(now);
        const settledIn = this.#settledIn(now);
        const shape = this.#parts.isUp() ? this.#mostWanting(now) : undefined;
        if (shape === undefined) await this.#bell.wait(lookMs);
        else if (settledIn > 0) await this.#bell.wait(settledIn);
        else await this.#fill(shape, signal);
      }
    } finally {
      await this.#removeAll();
    }
  }

  #settledIn(now: Instant): number {
    if (this.#asked === undefined || this.#asked.last > now) return 0;
    const settledAt = this.rush.isOn ? Number.POSITIVE_INFINITY : this.#asked.last + settleMs;
    return Math.min(settledAt, this.#asked.first + maxSettleMs) - now;
  }

  async #fill(shape: Shape, signal: AbortSignal): Promise<void> {
    const { runtime, locks, operationMs } = this.#parts;
    this.#asked = undefined;
    const id = Bun.randomUUIDv7() as ContainerId; // ids of prepared containers are made here
    const lock = await locks.hold(id, signal);
    const within = AbortSignal.any([signal, AbortSignal.timeout(operationMs)]);
    try {
      const { limits } = shape.spec;
      const spec = { ...shape.spec, name: engineName(id), labels: this.#labels(id) };
      const prepared = await runtime.prepare?.(spec, within);
      if (prepared === undefined) {
        shape.restUntil(this.#parts.clock() + retryMs);
        return lock[Symbol.dispose]();
      }
      const fits = (wanted: HardenedSpec) => shapeKey(wanted) === shape.key && prepared.suits(wanted);
      const taken: Taken = { id, prepared, lock, limits, fits };
      shape.waiting.push(taken);
      this.#parts.background.start("look after a prepared container", (stop) =>
        this.#whenGone(shape, taken, stop),
      );
    } catch (error) {
      lock[Symbol.dispose]();
      // Its image may be gone, or the engine: those who ask for it will hear why.
      if (!(error instanceof Failure)) throw error;
      shape.restUntil(this.#parts.clock() + retryMs);
      if (!signal.aborted) this.#parts.onRefused(shape.spec.image, error);
    }
  }

  async #whenGone(shape: Shape, taken: Taken, stop: AbortSignal): Promise<void> {
    const stopped = Promise.withResolvers<void>();
    stop.addEventListener("abort", () => stopped.resolve(), { once: true });
    await Promise.race([taken.prepared.gone, stopped.promise]);
    if (stop.aborted) return;
    if (shape.withdraw(taken)) await this.#remove(taken);
    this.#bell.ring();
  }

  #dropIdle(now: Instant): void {
    for (const shape of this.#shapes.values()) {
      for (let over = shape.waiting.length - shape.target(now); over > 0; over--) this.#dropOne(shape);
    }
  }

  #dropOne(shape: Shape): void {
    const taken = shape.waiting.pop();
    if (taken === undefined) return;
    this.#parts.background.start("remove a prepared container", () => this.#remove(taken));
  }

  async #remove(taken: Taken): Promise<void> {
    using _lock = taken.lock;
    try {
      await this.discard(taken);
    } catch (error) {
      // No row knows it, so it goes when the engine is next compared with the rows.
      if (!(error instanceof Failure)) throw error;
    }
  }

  async #removeAll(): Promise<void> {
    const { runtime } = this.#parts;
    const signal = AbortSignal.timeout(lastRemovalMs);
    const left = [...this.#shapes.values()].flatMap((shape) => shape.waiting.splice(0));
    await Promise.allSettled(
      left.map(async ({ id, lock }) => {
        using _lock = lock;
        await runtime.remove(engineName(id), signal);
      }),
    );
  }

  /** The shape that lacks most, if there is room for it; one that is wanted less makes room. */
  #mostWanting(now: Instant): Shape | undefined {
    const lacking = [...this.#shapes.values()]
      .filter((shape) => shape.lacks(now) > 0)
      .sort((a, b) => a.waiting.length - b.waiting.length || b.askedAt - a.askedAt);
    const [first] = lacking;
    if (first === undefined || this.waiting < this.#options.maxContainers) return first;
    const [least] = [...this.#shapes.values()]
      .filter((shape) => shape !== first && shape.waiting.length > 0 && shape.askedAt < first.askedAt)
      .sort((a, b) => a.askedAt - b.askedAt);
    if (least === undefined || first.waiting.length > 0) return undefined;
    this.#dropOne(least);
    return first;
  }

  #shapeOf(spec: HardenedSpec): Shape {
    const key = shapeKey(spec);
    const known = this.#shapes.get(key);
    if (known !== undefined) return known;
    if (this.#shapes.size >= maxShapes) this.#forgetOldest();
    const shape = new Shape(key, spec, this.#options);
    this.#shapes.set(key, shape);
    return shape;
  }

  #forgetOldest(): void {
    const [oldest] = [...this.#shapes.values()]
      .filter(({ waiting, isConfigured }) => waiting.length === 0 && !isConfigured)
      .sort((a, b) => a.askedAt - b.askedAt);
    if (oldest !== undefined) this.#shapes.delete(oldest.key);
  }

  #labels(id: ContainerId): Record<string, string> {
    return {
      [engineLabels.install]: this.#parts.install,
      [engineLabels.container]: id,
      [engineLabels.prepared]: "yes",
    };
  }
}

/** Whether a container can be made before it is known what will run in it: nothing of it may be one session's own. */
function canBePrepared(spec: HardenedSpec): boolean {
  const isPlain = spec.mounts.length === 0 && spec.ports.length === 0;
  // A hostname can't be given later.
  return isPlain && spec.restart.name === "no" && spec.hostname === undefined;
}
