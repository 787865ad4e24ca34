import { abortFailure, Failure } from "../failure.ts";
import {
  type Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../gen/grpc/health/v1/health_pb.ts";
import type { Handlers } from "./handlers.ts";

/** Whether what a health name stands for can do its work now. */
export type Serving = "serving" | "not_serving";

/** What grpc.health.v1 tells about the names that it knows, each of which is `not_serving` to begin with. */
export class Health {
  readonly #states: Map<string, Serving>;
  readonly #watchers = new Set<Watcher>();

  /** @param names the empty one, which stands for the server as a whole, among them. */
  constructor(names: Iterable<string>) {
    this.#states = new Map([...names].map((name) => [name, "not_serving"]));
  }

  /** Sets the state of one of the names and tells those who watch it. */
  set(name: string, serving: Serving): void {
    if (!this.#states.has(name)) throw new Error(`there is no health name "${name}"`);
    if (this.#states.get(name) === serving) return;
    this.#states.set(name, serving);
    for (const watcher of this.#watchers) {
      if (watcher.name === name) watcher.tell(wireStatus(serving));
    }
  }

  /** Sets the state of all names. */
  setAll(serving: Serving): void {
    for (const name of this.#states.keys()) this.set(name, serving);
  }

  /** How many watches are open. */
  get watching(): number {
    return this.#watchers.size;
  }

  readonly handlers: Handlers<typeof HealthService> = {
    check: ({ service }) => {
      const serving = this.#states.get(service);
      if (serving === undefined) {
        throw new Failure("not_found", `Cannot check the health of "${service}": there is no such name`);
      }
      return { status: wireStatus(serving) };
    },

    list: () => ({
      statuses: Object.fromEntries(
        [...this.#states].map(([name, serving]) => [name, { status: wireStatus(serving) }]),
      ),
    }),

    watch: ({ service }, call) => this.#watch(service, call),
  };

  async *#watch(
    name: string,
    call: { readonly signal: AbortSignal; open(): void },
  ): AsyncGenerator<{ status: ServingStatus }> {
    const watcher = new Watcher(name);
    this.#watchers.add(watcher);
    const { signal } = call;
    signal.addEventListener("abort", watcher.wake);
    try {
      call.open();
      const serving = this.#states.get(name);
      watcher.tell(serving === undefined ? ServingStatus.SERVICE_UNKNOWN : wireStatus(serving));
      for (;;) {
        for (let status = watcher.take(); status !== undefined; status = watcher.take()) yield { status };
        if (signal.aborted) throw abortFailure(signal);
        await watcher.told();
      }
    } finally {
      signal.removeEventListener("abort", watcher.wake);
      this.#watchers.delete(watcher);
    }
  }
}

/** How many changes wait for a watcher that is slow; of more, the oldest are left out. */
const UNTOLD_CHANGES = 16;

class Watcher {
  readonly name: string;
  #untold: ServingStatus[] = [];
  #news = Promise.withResolvers<void>();

  constructor(name: string) {
    this.name = name;
  }

  tell(status: ServingStatus): void {
    this.#untold.push(status);
    if (this.#untold.length > UNTOLD_CHANGES) this.#untold.shift();
    this.wake();
  }

  take(): ServingStatus | undefined {
    return this.#untold.shift();
  }

  readonly wake = (): void => this.#news.resolve();

  async told(): Promise<void> {
    await this.#news.promise;
    this.#news = Promise.withResolvers();
  }
}

function wireStatus(serving: Serving): ServingStatus {
  return serving === "serving" ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
}
