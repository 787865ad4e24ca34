import { statSync } from "node:fs";
import { Failure } from "../../failure.ts";

/**
 * Makes a check that the file called `path` is still the one that it is now. SQLite goes on writing to a file that was
 * removed, and says that all is well; what it writes is gone with the process.
 *
 * The check's failures: UNAVAILABLE.
 */
export function sameFile(path: string): () => void {
  const opened = statSync(path, { throwIfNoEntry: false });
  return () => {
    const now = statSync(path, { throwIfNoEntry: false });
    if (now !== undefined && now.ino === opened?.ino && now.dev === opened.dev) return;
    const state = now === undefined ? "was removed" : "was replaced by another one";
    throw new Failure(
      "unavailable",
      `Cannot save the change: the database "${path}" ${state}; put it back, or restart the server`,
      { reason: "STORAGE_UNAVAILABLE", retryAfterMs: 5_000 },
    );
  };
}
