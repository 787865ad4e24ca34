import { closeSync, fdatasync, openSync } from "node:fs";
import { Failure } from "../../failure.ts";

/**
 * The file beside the database that SQLite appends commits to. SQLite would sync it within COMMIT and hold the event loop
 * for as long as the disk takes; here a thread of the runtime's pool waits for the disk.
 */
export class WriteAheadLog implements Disposable {
  readonly #file: number;

  /** @param database the database's path, opened by SQLite before, so that there is such a file */
  constructor(database: string) {
    this.#file = openSync(`${database}-wal`, "r");
  }

  /** Resolves when all that was committed before the call would survive a loss of power. Failures: UNAVAILABLE. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#file, (error) => {
        if (error === null) resolve();
        else reject(syncFailure(error));
      });
    });
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}

function syncFailure(cause: Error): Failure {
  return new Failure(
    "unavailable",
    `Cannot save the change: the disk did not confirm it (${cause.message}); whether it is saved is not known`,
    { reason: "STORAGE_UNAVAILABLE", retryAfterMs: 5_000, cause },
  );
}
