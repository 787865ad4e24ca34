import type { ContainerId } from "./container.ts";

/** Hears whether its container is ended by a call. */
export interface EndingWatch extends Disposable {
  /** Why, in words; undefined when no call has ended it. */
  readonly reason: string | undefined;
}

/** Which containers calls are ending, and why, so that the commands in them can tell it from an end that nobody asked for. */
export class Endings {
  readonly #underWay = new Map<ContainerId, string[]>();
  readonly #watches = new Map<ContainerId, Set<Watch>>();

  /** Says that a call ends the container, from now until it is disposed. */
  begin(id: ContainerId, reason: string): Disposable {
    const reasons = this.#underWay.get(id) ?? [];
    this.#underWay.set(id, [...reasons, reason]);
    for (const watch of this.#watches.get(id) ?? []) watch.reason ??= reason;
    return {
      [Symbol.dispose]: () => {
        const [, ...rest] = this.#underWay.get(id) ?? [];
        if (rest.length === 0) this.#underWay.delete(id);
        else this.#underWay.set(id, rest);
      },
    };
  }

  /** Hears of all that is under way, and of all that begins until it is disposed. */
  watch(id: ContainerId): EndingWatch {
    const watches = this.#watches.get(id) ?? new Set();
    this.#watches.set(id, watches);
    const watch: Watch = {
      reason: this.#underWay.get(id)?.[0],
      [Symbol.dispose]: () => {
        watches.delete(watch);
        if (watches.size === 0 && this.#watches.get(id) === watches) this.#watches.delete(id);
      },
    };
    watches.add(watch);
    return watch;
  }
}

interface Watch extends Disposable {
  reason: string | undefined;
}
