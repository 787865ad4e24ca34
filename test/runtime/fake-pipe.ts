/** Bytes from one to another, as a pipe of the kernel has them: who writes waits while it is full. */
export class FakePipe {
  readonly #capacity: number;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #ended = false;
  #broken = false;
  #waiting: (() => void)[] = [];

  constructor(capacity = 64 * 1024) {
    this.#capacity = capacity;
  }

  /** Resolves when there was room; what nobody can read any more is dropped. Rejects with the signal's reason. */
  async write(data: Uint8Array, signal: AbortSignal): Promise<void> {
    for (let at = 0; at < data.length; ) {
      while (this.#size >= this.#capacity && !this.#broken) await this.#change(signal);
      if (this.#broken || this.#ended) return;
      const piece = data.slice(at, at + this.#capacity - this.#size);
      this.#chunks.push(piece);
      this.#size += piece.length;
      at += piece.length;
      this.#tell();
    }
  }

  /** The next bytes, or `undefined` at the end. Rejects with the signal's reason. */
  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#size -= chunk.length;
        this.#tell();
        return chunk;
      }
      if (this.#ended || this.#broken) return undefined;
      await this.#change(signal);
    }
  }

  /** Puts bytes back before the others. */
  unread(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#chunks.unshift(data);
    this.#size += data.length;
  }

  /** The reader reads what there is, and then the end. */
  end(): void {
    this.#ended = true;
    this.#tell();
  }

  /** Nobody reads any more: writes are dropped. */
  break(): void {
    this.#broken = true;
    this.#chunks = [];
    this.#size = 0;
    this.#tell();
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    await unlessAborted(promise, signal);
  }

  #tell(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** What `promise` resolves to, unless the signal aborts first: then its reason. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
