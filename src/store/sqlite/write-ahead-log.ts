import { closeSync, fdatasync, openSync } from "node:fs";
import { sameFile } from "./same-file.ts";

/**
 * The file beside the database that SQLite appends commits to. SQLite would sync it within COMMIT and hold the event loop
 * for as long as the disk takes; here a thread of the runtime's pool waits for the disk.
 */
export class WriteAheadLog implements Disposable {
  readonly path: string;
  readonly #file: number;
  readonly #look: ReturnType<typeof sameFile>;

  /** @param database the database's path, opened by SQLite before, so that there is such a file */
  constructor(database: string) {
    this.path = `${database}-wal`;
    this.#file = openSync(this.path, "r");
    this.#look = sameFile(this.path);
  }

  /** Whether the next program to open the database would find it. */
  get isInPlace(): boolean {
    return this.#look() === "the same";
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

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}
