/** Frames for one reader. `push` resolves when the reader has taken the frame, so that whoever sends much waits for it. */
export class FrameQueue<Frame> implements AsyncIterable<Frame> {
  readonly #waiting: { readonly frame: Frame; readonly taken: () => void }[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  /** Resolves at once when nobody reads any more. */
  push(frame: Frame): Promise<void> {
    if (this.#closed) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ frame, taken: resolve });
    this.#wake?.();
    return promise;
  }

  /** Drops what was not taken. */
  close(): void {
    this.#closed = true;
    for (const { taken } of this.#waiting.splice(0)) taken();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Frame> {
    try {
      while (!this.#closed) {
        const next = this.#waiting.shift();
        if (next === undefined) {
          await this.#nextPush();
          continue;
        }
        next.taken();
        yield next.frame;
      }
    } finally {
      this.close();
    }
  }

  #nextPush(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }
}
