import { SQLiteError } from "bun:sqlite";
import { Failure } from "../../failure.ts";

/** What an error of SQLite means for the request that met it; other errors come back as they are. */
export function sqliteFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof SQLiteError)) return error;
  const code = error.code ?? "";
  if (code.startsWith("SQLITE_FULL")) {
    return new Failure("resource_exhausted", `Cannot ${doing}: the disk that holds the data folder is full`, {
      reason: "STORAGE_FULL",
      retryAfterMs: 5_000,
      cause: error,
    });
  }
  if (code.startsWith("SQLITE_TOOBIG")) {
    return new Failure("invalid_argument", `Cannot ${doing}: it is larger than the store can hold`, {
      cause: error,
    });
  }
  if (code.startsWith("SQLITE_CORRUPT") || code.startsWith("SQLITE_NOTADB")) {
    return new Failure("data_loss", `Cannot ${doing}: the database is damaged; restore it from a backup`, {
      reason: "STORAGE_DAMAGED",
      cause: error,
    });
  }
  if (unwritable.some((prefix) => code.startsWith(prefix))) {
    return new Failure("unavailable", `Cannot ${doing}: the data folder can't be used (${error.message})`, {
      reason: "STORAGE_UNAVAILABLE",
      retryAfterMs: 5_000,
      cause: error,
    });
  }
  return error;
}

const unwritable = [
  "SQLITE_IOERR",
  "SQLITE_READONLY",
  "SQLITE_CANTOPEN",
  "SQLITE_BUSY",
  "SQLITE_LOCKED",
  "SQLITE_PERM",
];
