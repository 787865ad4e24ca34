import { Bell } from "../../events/bell.ts";
import { Failure } from "../../failure.ts";

/** Somebody who reads a command's output at a pace of their own. */
export interface Reader extends Disposable {
  /** The next byte that it will read. */
  readonly offset: number;
  /** Resolves when there may be something new: output, the end, or `wake`. */
  wait(): Promise<void>;
  readonly wake: () => void;
  /** It has read up to here. */
  readTo(offset: number): void;
}

export interface ReaderLimits {
  /** How many there may be. */
  readonly most: number;
  /** How long one that is behind may read nothing before the command goes on without it, in milliseconds. */
  readonly patienceMs: number;
}

/** Those who read one command's output. */
export class ExecReaders {
  readonly #limits: ReaderLimits;
  readonly #readers = new Set<AttachedReader>();
  /** Rung when somebody has read on, or has left. */
  readonly #moved = new Bell();

  constructor(limits: ReaderLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#readers.size;
  }

  /** Failures: RESOURCE_EXHAUSTED when there are too many. */
  join(id: string, offset: number): Reader {
    if (this.#readers.size >= this.#limits.most) throw tooMany(id, this.#limits.most);
    const reader = new AttachedReader(offset, {
      patienceMs: this.#limits.patienceMs,
      moved: this.#moved.ring,
      left: () => {
        this.#readers.delete(reader);
        this.#moved.ring();
      },
    });
    this.#readers.add(reader);
    return reader;
  }

  /** There is something new to read; before it, there were `total` bytes. */
  tell(total: number): void {
    const now = performance.now();
    for (const reader of this.#readers) {
      if (reader.offset === total) reader.caughtUp(now);
      reader.wake();
    }
  }

  /** Resolves when nobody who reads on would miss what is before `oldest`. Who reads nothing for too long is passed over. */
  async readTo(oldest: number, signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", this.#moved.ring);
    try {
      while (!signal.aborted) {
        const now = performance.now();
        const behind = [...this.#readers].filter((reader) => reader.holdsUp(oldest, now));
        if (behind.length === 0) return;
        const oldestRead = Math.min(...behind.map(({ readAt }) => readAt));
        await this.#moved.wait(Math.max(1, oldestRead + this.#limits.patienceMs - now));
      }
    } finally {
      signal.removeEventListener("abort", this.#moved.ring);
    }
  }
}

interface ReaderParts {
  readonly patienceMs: number;
  readonly moved: () => void;
  readonly left: () => void;
}

class AttachedReader implements Reader {
  offset: number;
  /** When it has read last, or had nothing to read; by the monotonic clock. */
  readAt = performance.now();
  #isPassedOver = false;
  readonly #bell = new Bell();
  readonly #of: ReaderParts;

  constructor(offset: number, of: ReaderParts) {
    this.offset = offset;
    this.#of = of;
  }

  wait(): Promise<void> {
    return this.#bell.wait();
  }

  get wake(): () => void {
    return this.#bell.ring;
  }

  readTo(offset: number): void {
    this.offset = offset;
    this.readAt = performance.now();
    this.#of.moved();
  }

  caughtUp(now: number): void {
    this.readAt = now;
    this.#isPassedOver = false;
  }

  /** Whether it would miss what is before `oldest`, and is to be waited for. */
  holdsUp(oldest: number, now: number): boolean {
    if (this.offset >= oldest || this.#isPassedOver) return false;
    this.#isPassedOver = now - this.readAt >= this.#of.patienceMs;
    return !this.#isPassedOver;
  }

  [Symbol.dispose](): void {
    this.#of.left();
  }
}

function tooMany(id: string, most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot attach to command "${id}": ${most} streams read it already, which is the most at once`,
    { reason: "TOO_MANY_ATTACHMENTS", metadata: { exec_id: id }, retryAfterMs: 1_000 },
  );
}
