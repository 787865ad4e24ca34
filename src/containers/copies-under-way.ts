import { Failure } from "../failure.ts";
import type { ContainerId } from "./container.ts";

/**
 * The copies that are being made. Docker holds on to a container while it copies, and answers nothing about it: whoever
 * wants to stop or remove it ends its copies first.
 */
export class CopiesUnderWay {
  readonly #most: number;
  readonly #copies = new Map<AbortController, ContainerId>();
  readonly #ending = new Map<ContainerId, number>();

  /** @param most how many there may be at once */
  constructor(most: number) {
    this.#most = most;
  }

  /** A signal for one more copy, which aborts with `signal` too. Failures: RESOURCE_EXHAUSTED when there are too many. */
  begin(id: ContainerId, signal: AbortSignal): Disposable & { readonly signal: AbortSignal } {
    if (this.#copies.size >= this.#most) {
      throw new Failure(
        "resource_exhausted",
        `Cannot copy files of container "${id}": ${this.#most} copies are under way, which is the most at once`,
        { reason: "TOO_MANY_COPIES", retryAfterMs: 1_000 },
      );
    }
    if (this.#ending.has(id)) throw ended(id);
    const ending = new AbortController();
    this.#copies.set(ending, id);
    return {
      signal: AbortSignal.any([signal, ending.signal]),
      [Symbol.dispose]: () => void this.#copies.delete(ending),
    };
  }

  /** Ends all copies of a container that is being ended itself, and refuses new ones until this is disposed. */
  end(id: ContainerId): Disposable {
    this.#ending.set(id, (this.#ending.get(id) ?? 0) + 1);
    for (const [copy, of] of this.#copies) if (of === id) copy.abort(ended(id));
    return {
      [Symbol.dispose]: () => {
        const others = (this.#ending.get(id) ?? 1) - 1;
        if (others === 0) this.#ending.delete(id);
        else this.#ending.set(id, others);
      },
    };
  }
}

function ended(id: ContainerId): Failure {
  return new Failure("aborted", `Cannot copy: container "${id}" is being stopped or removed`, {
    reason: "CONTAINER_ENDING",
    metadata: { container_id: id },
  });
}
