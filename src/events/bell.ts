import { longestTimerMs } from "../longest-timer.ts";

/**
 * Wakes one waiter. Ringing while nobody waits is remembered, so a ring between two waits is not lost.
 *
 * @example
 * const bell = new Bell();
 * signal.addEventListener("abort", bell.ring, { once: true });
 * await bell.wait(1_000); // until it rings, or a second has passed
 */
export class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  readonly ring = (): void => {
    this.#rung = true;
    this.#wake?.();
  };

  /** @param timeoutMs milliseconds; without end when absent */
  wait(timeoutMs?: number): Promise<void> {
    if (this.#rung) {
      this.#rung = false;
      return Promise.resolve();
    }
    return new Promise<void>((resolve) => {
      // Who waits longer than a timer can is woken early, and waits again.
      const timer =
        timeoutMs === undefined ? undefined : setTimeout(this.ring, Math.min(timeoutMs, longestTimerMs));
      this.#wake = () => {
        this.#rung = false;
        this.#wake = undefined;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
