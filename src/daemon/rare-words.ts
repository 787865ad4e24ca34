/** How often one speaker is heard, in milliseconds. */
const everyMs = 1_000;

/** How many speakers are remembered. */
const maxSpeakers = 1_000;

type Details = Readonly<Record<string, unknown>>;

/** Lines of a log that somebody else can cause in any number: of each speaker one a second, with how many were left out. */
export class RareWords {
  readonly #write: (details: Details) => void;
  readonly #speakers = new Map<string, { saidMs: number; leftOut: number }>();

  constructor(write: (details: Details) => void) {
    this.#write = write;
  }

  say(speaker: string, details: Details, nowMs = performance.now()): void {
    const known = this.#speakers.get(speaker);
    if (known !== undefined && nowMs - known.saidMs < everyMs) {
      known.leftOut += 1;
      return;
    }
    if (this.#speakers.size >= maxSpeakers) this.#speakers.clear();
    this.#speakers.set(speaker, { saidMs: nowMs, leftOut: 0 });
    this.#write(
      known === undefined || known.leftOut === 0 ? details : { ...details, left_out: known.leftOut },
    );
  }
}
