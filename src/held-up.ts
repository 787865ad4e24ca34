/** How much later than planned something may come, in milliseconds, before the server counts as held up. */
const leastMs = 1_000;

/**
 * Notices that the server itself was held up: suspended, stopped, or out of processor. It could not hear anybody in that
 * time, so it is nobody's silence.
 */
export class HeldUp {
  #lookedAt: number | undefined;

  /** For how long it was held up since this was last asked, in milliseconds. Asked every `everyMs` at the latest. */
  look(nowMs: number, everyMs: number): number {
    const lateMs = nowMs - (this.#lookedAt ?? nowMs) - everyMs;
    this.#lookedAt = nowMs;
    return lateMs > leastMs ? lateMs : 0;
  }
}
