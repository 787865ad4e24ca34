import type { Background } from "../background.ts";
import { Failure } from "../failure.ts";
import type { Log } from "./log.ts";
import { pause } from "./pause.ts";

/** How long work may take to end after it was told to, in milliseconds. */
const endWithinMs = 3_000;

/** How soon kept-up work that has failed is started again, in milliseconds. */
const startAgainMs = 2_000;

/** Runs what nobody awaits. Disposing tells all of it to stop, and waits a while for it. */
export class Supervisor implements Background, AsyncDisposable {
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #running = new Map<Promise<void>, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  start(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    if (this.#stop.signal.aborted) return;
    const running: Promise<void> = this.#run(name, work).finally(() => this.#running.delete(running));
    this.#running.set(running, name);
  }

  /** Starts `work`, which runs for as long as the server does, and starts it again whenever it fails. */
  keepUp(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    this.start(name, async (signal) => {
      while (!signal.aborted) {
        await this.#run(name, work);
        await pause(startAgainMs, signal);
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(
      new Failure("unavailable", "Cannot go on: the server is shutting down", { reason: "SHUTTING_DOWN" }),
    );
    const late = Promise.withResolvers<"late">();
    const timer = setTimeout(() => late.resolve("late"), endWithinMs);
    const outcome = await Promise.race([Promise.all(this.#running.keys()), late.promise]);
    clearTimeout(timer);
    if (outcome === "late") {
      this.#log.warn("background work did not end when it was told to", {
        work: [...this.#running.values()],
      });
    }
  }

  async #run(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await work(this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#log.error(`cannot ${name}`, { error });
    }
  }
}
