import { Bell } from "../events/bell.ts";
import { abortFailure, Failure } from "../failure.ts";

/** How far one layer of an image is, or the image as a whole. */
export interface PullStep {
  readonly kind: "step";
  /** In the engine's words. */
  readonly status: string;
  /** Empty for the image as a whole. */
  readonly layer: string;
  readonly currentBytes: number;
  /** 0 while not known. */
  readonly totalBytes: number;
}

export interface Watching<Result> extends Disposable {
  readonly steps: AsyncIterable<PullStep>;
  /** What came of it; rejects with what it failed with, or when the signal aborts. */
  readonly result: Promise<Result>;
}

/** How many layers are told apart: images have up to 127. */
const maxLayers = 256;

/**
 * Work that any number of watchers share: it begins with the first and is cut off when the last has gone. A watcher that
 * is slow misses steps in between, and never the last one of a layer; nobody waits for it, and nothing is queued for it.
 */
export class SharedPull<Result> {
  readonly #run: (tell: (step: PullStep) => void, signal: AbortSignal) => Promise<Result>;
  readonly #stop = new AbortController();
  readonly #layers = new Map<string, { readonly step: PullStep; readonly version: number }>();
  readonly #bells = new Set<Bell>();
  readonly #outcome = Promise.withResolvers<Result>();
  #version = 0;
  #isOver = false;

  constructor(run: (tell: (step: PullStep) => void, signal: AbortSignal) => Promise<Result>) {
    this.#run = run;
    this.#outcome.promise.catch(() => {}); // watchers hear of it
    void this.#begin();
  }

  /** Whether it has its outcome, or nobody waits for that any more. */
  get isOver(): boolean {
    return this.#isOver || this.#stop.signal.aborted;
  }

  /** Resolves when it is over, however it ended. */
  get done(): Promise<unknown> {
    return this.#outcome.promise.catch(() => undefined);
  }

  /** Ends it for all. */
  abandon(reason: unknown): void {
    this.#stop.abort(reason);
  }

  watch(signal: AbortSignal): Watching<Result> {
    const bell = new Bell();
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => {}); // nobody may wait for it
    const onAbort = () => {
      aborted.reject(abortFailure(signal));
      bell.ring();
    };
    const result = Promise.race([this.#outcome.promise, aborted.promise]);
    result.catch(() => {}); // nor for this
    this.#bells.add(bell);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    return {
      steps: this.#steps(bell, signal),
      result,
      [Symbol.dispose]: () => {
        signal.removeEventListener("abort", onAbort);
        this.#bells.delete(bell);
        if (this.#bells.size === 0) this.abandon(nobodyWaits);
      },
    };
  }

  async *#steps(bell: Bell, signal: AbortSignal): AsyncGenerator<PullStep, void, undefined> {
    let seen = 0;
    while (!signal.aborted) {
      const isLast = this.#isOver;
      const news = [...this.#layers.values()].filter(({ version }) => version > seen);
      seen = this.#version;
      for (const { step } of news.toSorted((one, other) => one.version - other.version)) yield step;
      if (isLast) return;
      if (this.#version === seen && !this.#isOver) await bell.wait();
    }
  }

  async #begin(): Promise<void> {
    try {
      this.#outcome.resolve(await this.#run((step) => this.#tell(step), this.#stop.signal));
    } catch (error) {
      this.#outcome.reject(error);
    } finally {
      this.#isOver = true;
      for (const bell of this.#bells) bell.ring();
    }
  }

  #tell(step: PullStep): void {
    if (!this.#layers.has(step.layer) && this.#layers.size >= maxLayers) return;
    this.#version += 1;
    this.#layers.set(step.layer, { step, version: this.#version });
    for (const bell of this.#bells) bell.ring();
  }
}

const nobodyWaits = new Failure("cancelled", "Cannot go on with the pull: nobody waits for it any more");
