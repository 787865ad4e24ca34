import { Failure } from "../../failure.ts";

// Why the store can't be used, whatever SQLite says.

export function closedFailure(): Failure {
  return new Failure("unavailable", "Cannot use the store: it is closed", { reason: "SHUTTING_DOWN" });
}

/** @param state what has become of its file */
export function databaseGoneFailure(path: string, state: string): Failure {
  return unsavedFailure(`the database "${path}" was ${state}; put it back, or restart the server`);
}

export function logGoneFailure(path: string): Failure {
  return unsavedFailure(`the database's log "${path}" was removed; restart the server`);
}

function unsavedFailure(why: string): Failure {
  return new Failure("unavailable", `Cannot save the change: ${why}`, {
    reason: "STORAGE_UNAVAILABLE",
    retryAfterMs: 5_000,
  });
}

export function stalledFailure(ms: number): Failure {
  return new Failure(
    "unavailable",
    `Cannot use the store: the disk has not confirmed the last commit for ${ms / 1000} s`,
    { reason: "STORAGE_UNAVAILABLE", retryAfterMs: 5_000 },
  );
}

export function lostFailure(cause: unknown): Failure {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Failure(
    "unavailable",
    `Cannot use the store: the disk did not confirm a commit (${why}); whether it is saved is known at the next start`,
    { reason: "STORAGE_UNAVAILABLE", cause },
  );
}

export function busyFailure(maxWaiting: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot save the change: ${maxWaiting} others wait for the disk already`,
    {
      reason: "STORE_BUSY",
      retryAfterMs: 1_000,
    },
  );
}
