import { join } from "node:path";
import type { Subprocess } from "bun";
import type { Entry, Order, Report } from "./journal.ts";

/** A client in a process of its own, which survives the server. */
export class ClientProcess implements AsyncDisposable {
  readonly #process: Subprocess;
  readonly #ready = Promise.withResolvers<void>();
  #settled: PromiseWithResolvers<Entry[]> | undefined;

  constructor(options: {
    readonly socketPath: string;
    readonly name: string;
    readonly seed: number;
    /** How many of it send messages at once. */
    readonly senders: number;
  }) {
    const words = [options.socketPath, options.name, String(options.seed), String(options.senders)];
    this.#process = Bun.spawn([process.execPath, join(import.meta.dir, "load-client.ts"), ...words], {
      stdin: "ignore",
      stdout: "inherit",
      stderr: "inherit",
      ipc: (message: Report) => this.#hear(message),
      onExit: () => {
        const gone = new Error(`Cannot go on: client process ${options.name} has ended`);
        this.#ready.reject(gone);
        this.#settled?.reject(gone);
      },
    });
    this.#ready.promise.catch(() => {});
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  go(): void {
    this.#order({ order: "go" });
  }

  /** Lets it begin nothing new, waits for its calls under way, and gives what all have come to. */
  settle(): Promise<Entry[]> {
    this.#settled = Promise.withResolvers();
    this.#order({ order: "settle" });
    return this.#settled.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#settled?.promise.catch(() => {});
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  #hear(report: Report): void {
    if (report.report === "ready") this.#ready.resolve();
    else this.#settled?.resolve(report.entries);
  }

  #order(order: Order): void {
    this.#process.send(order);
  }
}
