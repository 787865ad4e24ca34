import { orAborted } from "../or-aborted.ts";

/**
 * Lets one holder at a time work on what a key names; the others wait in the order in which they came.
 *
 * @example
 * using held = await oneAtATime.hold(containerId, call.signal);
 */
export class OneAtATime {
  readonly #last = new Map<string, Promise<void>>();

  /** Resolves when it is this caller's turn. Throws the signal's reason when it aborts before. */
  async hold(key: string, signal: AbortSignal): Promise<Disposable> {
    const before = this.#last.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const turn = before === undefined ? promise : before.then(() => promise);
    this.#last.set(key, turn);
    const release = () => {
      resolve();
      if (this.#last.get(key) === turn) this.#last.delete(key);
    };
    try {
      if (before !== undefined) await orAborted(before, signal);
    } catch (error) {
      // Those who wait behind this one still wait for who has it now.
      before?.then(release);
      throw error;
    }
    return { [Symbol.dispose]: release };
  }

  /** Whether somebody holds the key now. */
  held(key: string): boolean {
    return this.#last.has(key);
  }
}
