/** What callers send to a task, until it is read. Once it holds `maxBytes`, `push` waits for the reader. */
export class InputQueue implements AsyncIterable<Uint8Array> {
  readonly #waiting: Uint8Array[] = [];
  readonly #maxBytes: number;
  #bytes = 0;
  #isEnded = false;
  #changed = Promise.withResolvers<void>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Done when there is room for more, or nobody will read any more. */
  async push(data: Uint8Array): Promise<void> {
    if (this.#isEnded || data.byteLength === 0) return;
    this.#waiting.push(data);
    this.#bytes += data.byteLength;
    this.#change();
    while (this.#bytes >= this.#maxBytes && !this.#isEnded) await this.#changed.promise;
  }

  /** There is no more to come; what waits can still be read. */
  end(): void {
    this.#isEnded = true;
    this.#change();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const data = this.#waiting.shift();
      if (data !== undefined) {
        this.#bytes -= data.byteLength;
        this.#change();
        yield data;
      } else if (this.#isEnded) return;
      else await this.#changed.promise;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
