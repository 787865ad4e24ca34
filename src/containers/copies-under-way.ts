import { Failure } from "../failure.ts";
import type { ContainerId } from "./container.ts";

/**
 * The copies that are being made. Docker holds on to a container while it copies, and answers nothing about it: whoever
 * wants to stop or remove it ends its copies first.
 */
export class CopiesUnderWay {
  readonly #most: number;
  readonly #copies = new Map<AbortController, ContainerId>();

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
    const ending = new AbortController();
    this.#copies.set(ending, id);
    return {
      signal: AbortSignal.any([signal, ending.signal]),
      [Symbol.dispose]: () => void this.#copies.delete(ending),
    };
  }

  /** Ends all copies of a container that is being ended itself. */
  end(id: ContainerId): void {
    const reason = new Failure(
      "aborted",
      `Cannot go on with the copy: container "${id}" is being stopped or removed`,
      { reason: "CONTAINER_ENDING", metadata: { container_id: id } },
    );
    for (const [copy, of] of this.#copies) if (of === id) copy.abort(reason);
  }
}
