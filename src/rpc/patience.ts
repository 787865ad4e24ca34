/** Something that waits for a client to read, for as long as the server has patience. */
export interface Waiting {
  /** The client has had its time; called once, and the wait is over with it. */
  expire(): void;
}

/**
 * Ends waits that have lasted `patienceMs`, some milliseconds late at most, with one timer for all of them: nearly
 * every wait is over at once, and a timer for each would cost more than the wait.
 */
export class Patience {
  readonly #patienceMs: number;
  /** With the time at which each ends. They all wait equally long, so the first in is the first to end. */
  readonly #waits = new Map<Waiting, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  begin(waiting: Waiting): void {
    this.#waits.set(waiting, performance.now() + this.#patienceMs);
    this.#timer ??= this.#wakeIn(this.#patienceMs);
  }

  end(waiting: Waiting): void {
    this.#waits.delete(waiting);
  }

  #wakeIn(ms: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => this.#sweep(), ms);
    timer.unref();
    return timer;
  }

  #sweep(): void {
    const now = performance.now();
    this.#timer = undefined;
    for (const [waiting, endsAt] of this.#waits) {
      if (endsAt > now) {
        this.#timer ??= this.#wakeIn(endsAt - now + 1);
        return;
      }
      this.#waits.delete(waiting);
      waiting.expire();
    }
  }
}
