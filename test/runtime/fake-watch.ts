import type { Failure } from "../../src/failure.ts";
import type { RuntimeEvent } from "../../src/runtime/runtime.ts";

/** The events that a watch has not given out yet. */
export class FakeWatch {
  readonly labels: Readonly<Record<string, string>>;
  readonly #events: RuntimeEvent[] = [];
  #changed = Promise.withResolvers<void>();
  #lost: Failure | undefined;

  constructor(labels: Readonly<Record<string, string>>) {
    this.labels = labels;
  }

  tell(event: RuntimeEvent): void {
    this.#events.push(event);
    this.#changed.resolve();
  }

  lose(failure: Failure): void {
    this.#lost = failure;
    this.#changed.resolve();
  }

  async next(): Promise<RuntimeEvent> {
    for (;;) {
      if (this.#lost !== undefined) throw this.#lost;
      const event = this.#events.shift();
      if (event !== undefined) return event;
      this.#changed = Promise.withResolvers<void>();
      await this.#changed.promise;
    }
  }
}

/** Whether these labels have all of the wanted ones. */
export function carries(
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}
