/** Frames that are sent as they are pushed, for a call that a test plays by hand. */
export class PushedFrames<Frame> implements AsyncIterableIterator<Frame> {
  readonly #waiting: Frame[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  push(frame: Frame): void {
    this.#waiting.push(frame);
    this.#wake?.();
  }

  /** Half-closes the call when all is sent. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Frame, undefined>> {
    for (;;) {
      const frame = this.#waiting.shift();
      if (frame !== undefined) return { done: false, value: frame };
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async return(): Promise<IteratorResult<Frame, undefined>> {
    this.end();
    return { done: true, value: undefined };
  }
}
