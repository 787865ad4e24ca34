import { mkdirSync, statSync } from "node:fs";
import { Failure } from "../failure.ts";

/**
 * Makes the data folder where it is missing, for this user alone.
 *
 * Failures: FAILED_PRECONDITION when something else is in its place, UNAVAILABLE when it can't be made.
 */
export function makeDataFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") {
      throw new Failure("failed_precondition", `Cannot use data folder "${path}": it is not a folder`, {
        cause,
      });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure(
      "unavailable",
      `Cannot make data folder "${path}": ${why}; name another one with --data-dir`,
      { cause },
    );
  }
}

/** What is wrong with who may look into the data folder, for the log; `undefined` when nothing is. */
export function dataFolderWarning(path: string): string | undefined {
  if ((statSync(path).mode & openToAll) === 0) return undefined;
  return `anyone on this host may look into data folder "${path}"; what it holds is for its owner: chmod o-rwx '${path}'`;
}

/** Read, write and search, for those who are neither the owner nor of its group. */
const openToAll = 0o007;
