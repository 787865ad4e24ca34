import { mkdirSync } from "node:fs";
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
