/** What was typed before, to go back to. */
export class History {
  readonly #entries: string[];
  /** Where one is in it; at its length: at what is new. */
  #at: number;
  #new = "";

  /** @param entries oldest first */
  constructor(entries: readonly string[]) {
    this.#entries = [...entries];
    this.#at = this.#entries.length;
  }

  add(text: string): void {
    if (this.#entries.at(-1) !== text) this.#entries.push(text);
    this.#at = this.#entries.length;
    this.#new = "";
  }

  /** The entry before; undefined when there is none. `current` is kept for the way back. */
  older(current: string): string | undefined {
    if (this.#at === 0) return undefined;
    if (this.#at === this.#entries.length) this.#new = current;
    this.#at -= 1;
    return this.#entries[this.#at];
  }

  newer(): string | undefined {
    if (this.#at >= this.#entries.length) return undefined;
    this.#at += 1;
    return this.#at === this.#entries.length ? this.#new : this.#entries[this.#at];
  }
}
