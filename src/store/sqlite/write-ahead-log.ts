import { closeSync, fdatasync, fstatSync, openSync, statSync } from "node:fs";
import { Failure } from "../../failure.ts";

/**
 * The file beside the database that SQLite appends commits to. SQLite would sync it within COMMIT and hold the event loop
 * for as long as the disk takes; here a thread of the runtime's pool waits for the disk.
 */
export class WriteAheadLog implements Disposable {
  readonly #path: string;
  readonly #file: number;

  /** @param database the database's path, opened by SQLite before, so that there is such a file */
  constructor(database: string) {
    this.#path = `${database}-wal`;
    this.#file = openSync(this.#path, "r");
  }

  /** Whether the next program to open the database would find it. */
  get isInPlace(): boolean {
    const found = statSync(this.#path, { throwIfNoEntry: false });
    const opened = fstatSync(this.#file);
    return found?.ino === opened.ino && found.dev === opened.dev;
  }

  /** Resolves when all that was committed before the call would survive a loss of power. Rejects with the disk's error. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#file, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  removedFailure(): Failure {
    return new Failure(
      "unavailable",
      `Cannot save the change: the database's log "${this.#path}" was removed; restart the server`,
      { reason: "STORAGE_UNAVAILABLE", retryAfterMs: 5_000 },
    );
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}
