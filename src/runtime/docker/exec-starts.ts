import { orAborted } from "../../or-aborted.ts";
import type { RuntimeId } from "../runtime.ts";

/** A command that the engine has taken, and whose process may be yet to come. */
export interface Begun {
  /** Resolves when its process is there, or never will be. */
  readonly begun: (signal: AbortSignal) => Promise<void>;
  /** Resolves when nobody is connected with it any more. */
  readonly closed: Promise<void>;
}

/**
 * Keeps the starts of commands and the freezing of their container apart. An engine that freezes a container in which it
 * is about to start a process waits for the process, which is frozen, and answers nothing about the container from then on.
 */
export class ExecStarts {
  readonly #open = new Map<RuntimeId, Set<Promise<Begun | undefined>>>();
  readonly #freezing = new Map<RuntimeId, Promise<void>>();

  /** Starts a command when its container is not being frozen. Fails as `start`, or with the signal's reason. */
  async start<E extends Begun>(id: RuntimeId, start: () => Promise<E>, signal: AbortSignal): Promise<E> {
    for (let freezing = this.#freezing.get(id); freezing !== undefined; freezing = this.#freezing.get(id))
      await orAborted(freezing, signal);
    const starting = start();
    const known = starting.catch(() => undefined);
    const open = this.#open.get(id) ?? new Set();
    this.#open.set(id, open.add(known));
    void known
      .then((exec) => exec?.closed)
      .then(() => {
        open.delete(known);
        if (open.size === 0 && this.#open.get(id) === open) this.#open.delete(id);
      });
    return await starting;
  }

  /** Freezes a container when all commands that were started in it have begun. Fails as `freeze`, or with the signal's reason. */
  async freeze(id: RuntimeId, freeze: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (let freezing = this.#freezing.get(id); freezing !== undefined; freezing = this.#freezing.get(id))
      await orAborted(freezing, signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#freezing.set(id, promise);
    try {
      const open = [...(this.#open.get(id) ?? [])];
      await Promise.all(
        open.map(async (starting) => {
          const exec = await orAborted(starting, signal);
          await exec?.begun(signal);
        }),
      );
      await freeze();
    } finally {
      this.#freezing.delete(id);
      resolve();
    }
  }
}
