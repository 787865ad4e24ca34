import { write as writeAsync, writeSync } from "node:fs";
import { promisify } from "node:util";

/** Waiting lines beyond this are dropped and counted. */
const MAX_WAITING_BYTES = 4 * 1_048_576;

/** A write that takes longer than this has nobody at its other end who reads. */
const STUCK_AFTER_MS = 500;

const write = promisify(writeAsync);

/**
 * Lines to a file descriptor, in order and without making anybody wait: a terminal that is stopped or a pipe that
 * nobody reads holds up nothing but the log itself. Disposing writes what is left; so does the end of the process.
 */
export class LogOutput implements AsyncDisposable {
  readonly #fd: number;
  readonly #dropped: (lines: number) => string;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #droppedLines = 0;
  #writing: Promise<void> | undefined;
  #writingSince = 0;

  /** @param options.dropped the line that says how many are missing at its place */
  constructor(fd: number, options: { readonly dropped: (lines: number) => string }) {
    this.#fd = fd;
    this.#dropped = options.dropped;
    process.on("exit", this.#atExit);
  }

  /** Never throws, and keeps the caller no longer than it takes to copy the line. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#droppedLines += 1;
      return;
    }
    this.#push(bytes);
    if (this.#writing !== undefined) return;
    this.#writingSince = performance.now();
    this.#writing = this.#writeAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const timer = Promise.withResolvers<void>();
    const timeout = setTimeout(timer.resolve, STUCK_AFTER_MS);
    await Promise.race([this.#writing, timer.promise]);
    clearTimeout(timeout);
    process.removeListener("exit", this.#atExit);
    this.#atExit();
  }

  #push(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  /** Everything that waits, which then waits no more. */
  #take(): Buffer {
    if (this.#droppedLines > 0) {
      this.#push(Buffer.from(this.#dropped(this.#droppedLines)));
      this.#droppedLines = 0;
    }
    const all = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
    return all;
  }

  async #writeAll(): Promise<void> {
    // Lines of one turn of the event loop go out together.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#writeBytes(this.#take());
    this.#writing = undefined;
  }

  async #writeBytes(bytes: Buffer): Promise<void> {
    let written = 0;
    this.#writingSince = performance.now();
    while (written < bytes.length) {
      try {
        written += (await write(this.#fd, bytes, written)).bytesWritten;
        this.#writingSince = performance.now();
      } catch (error) {
        // Somebody made the descriptor non-blocking for all who share it.
        if (!isBusy(error)) return; // Nobody is there to read it, nor to be told so.
        await Bun.sleep(10);
      }
    }
  }

  readonly #atExit = (): void => {
    if (this.#writing !== undefined) {
      // One more write to a reader that is stuck would never return, and so the process would never end.
      if (performance.now() - this.#writingSince > STUCK_AFTER_MS) return;
      // What another thread is writing comes first.
      Bun.sleepSync(10);
    }
    const bytes = this.#take();
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(this.#fd, bytes, written);
    } catch {
      // As above: there is nobody to tell.
    }
  };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}
