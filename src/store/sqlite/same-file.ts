import { statSync } from "node:fs";

/**
 * Looks whether the file called `path` is still the one that it is now. SQLite goes on writing to a file that was removed,
 * and says that all is well; what it writes is gone with the process.
 */
export function sameFile(path: string): () => "the same" | "removed" | "replaced by another one" {
  const opened = statSync(path, { throwIfNoEntry: false });
  return () => {
    const now = statSync(path, { throwIfNoEntry: false });
    if (now === undefined) return "removed";
    return now.ino === opened?.ino && now.dev === opened.dev ? "the same" : "replaced by another one";
  };
}
