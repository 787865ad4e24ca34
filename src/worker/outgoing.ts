/**
 * Frames for a stream that may have to be opened several times: what one connection has not taken, the next one gets.
 * `send` is done when the frame was taken, so that whoever sends much waits for the other end.
 */
export class Outgoing<Frame> {
  readonly #waiting: { readonly frame: Frame; readonly taken: () => void }[] = [];
  #last: Frame | undefined;
  #connections = 0;
  #isClosed = false;
  #changed = Promise.withResolvers<void>();

  /** Whether its last frame is known. */
  get isFinished(): boolean {
    return this.#last !== undefined;
  }

  /** Done at once when nothing is sent any more. `onTaken` is told in the order in which frames are taken. */
  send(frame: Frame, onTaken?: () => void): Promise<void> {
    if (this.#isClosed || this.#last !== undefined) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const taken = () => {
      onTaken?.();
      resolve();
    };
    this.#waiting.push({ frame, taken });
    this.#change();
    return promise;
  }

  /** The frame behind all others, which every connection from now on sends before it half-closes. */
  finish(frame: Frame): void {
    this.#last ??= frame;
    this.#change();
  }

  /** Half-closes without a last frame, and drops what waits. */
  close(): void {
    this.#isClosed = true;
    for (const { taken } of this.#waiting.splice(0)) taken();
    this.#change();
  }

  /** The frames for a new connection; the connection before it gets no more from now on. */
  connection(): AsyncGenerator<Frame, void, undefined> {
    this.#connections += 1;
    this.#change();
    return this.#framesOf(this.#connections);
  }

  async *#framesOf(mine: number): AsyncGenerator<Frame, void, undefined> {
    for (;;) {
      if (mine !== this.#connections) return;
      const next = this.#waiting.shift();
      if (next !== undefined) {
        next.taken();
        yield next.frame;
      } else if (this.#last !== undefined) {
        yield this.#last;
        return;
      } else if (this.#isClosed) return;
      else await this.#changed.promise;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
