import { systemCall } from "../call.ts";
import { Bell } from "../events/bell.ts";
import type { Instant } from "../events/event.ts";
import type { Sessions } from "./sessions.ts";

/** How often the wall clock is looked at: bounds how late a clock that jumped is noticed. Milliseconds. */
const lookEveryMs = 1_000;

/** Announces and ends sessions when their stored deadlines come. */
export class Expiry {
  readonly #bell = new Bell();
  readonly #clock: () => Instant;
  #plannedAt = 0;

  constructor(clock: () => Instant) {
    this.#clock = clock;
  }

  /** Tells of a deadline, so that one that is sooner than the next look is not missed. */
  readonly notice = (at: Instant): void => {
    if (at < this.#plannedAt) this.#bell.ring();
  };

  /** Runs until the signal aborts. */
  async run(sessions: Sessions, signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", this.#bell.ring, { once: true });
    while (!signal.aborted) {
      const ended = await sessions.expire(systemCall(signal));
      if (ended > 0) continue;
      const now = this.#clock();
      const next = await sessions.nextDue();
      const waitMs = Math.min(lookEveryMs, Math.max(1, (next ?? Number.POSITIVE_INFINITY) - now));
      this.#plannedAt = now + waitMs;
      await this.#bell.wait(waitMs);
    }
  }
}
