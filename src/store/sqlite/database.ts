import { Database } from "bun:sqlite";
import { chmodSync, closeSync, openSync, statSync } from "node:fs";
import { Failure } from "../../failure.ts";
import { migrations as released } from "./migrations.ts";
import { sqliteFailure } from "./sqlite-failures.ts";

/** "baah" in ASCII: tells our files from other programs' SQLite files. */
const applicationId = 0x62616168;

/**
 * Opens the database file, makes it when it is missing, and brings it to the present shape. Only its owner can read it,
 * whatever the folder allows.
 *
 * Failures: FAILED_PRECONDITION when the file is not ours or is newer than this program, DATA_LOSS when it is damaged,
 * UNAVAILABLE and RESOURCE_EXHAUSTED when the folder can't be written.
 */
export function openDatabase(path: string, migrations: readonly string[] = released): Database {
  let database: Database | undefined;
  try {
    makeFile(path);
    database = new Database(path, { create: true, strict: true });
    own(database);
    checkOwner(database, path);
    checkVersion(database, path, migrations);
    closeToOthers(path);
    configure(database);
    migrate(database, migrations);
    return database;
  } catch (error) {
    database?.close();
    throw openFailure(error, path);
  }
}

/** SQLite would make it readable for all, as far as the umask allows. What it makes beside it gets the same mode. */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, "a", ownerOnly));
  } catch {
    // SQLite meets the same, and says what it is.
  }
}

/** For what was copied here, or left by a crash, with another mode. */
function closeToOthers(path: string): void {
  for (const file of [path, `${path}-wal`, `${path}-journal`]) {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined || (stats.mode & others) === 0) continue;
    try {
      chmodSync(file, ownerOnly);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Failure(
        "failed_precondition",
        `Cannot open database "${path}": others may use "${file}", and that can't be changed (${why})`,
        { cause },
      );
    }
  }
}

const ownerOnly = 0o600;
const others = 0o077;

function own(database: Database): void {
  // One process owns the file (the daemon's lock), so no shared-memory file is needed: a full disk can't turn into SIGBUS.
  database.run("PRAGMA locking_mode = EXCLUSIVE");
  database.run("PRAGMA busy_timeout = 0"); // waiting would block the event loop; the lock file has decided already
}

/** Writes to the file, so it comes after the checks: what isn't ours stays as it is. */
function configure(database: Database): void {
  database.run("PRAGMA journal_mode = WAL");
  // SQLite syncs around checkpoints, which keeps the file whole; each commit's own sync is WriteAheadLog's.
  database.run("PRAGMA synchronous = NORMAL");
  database.run("PRAGMA cache_size = -16384"); // KiB
  database.run("PRAGMA wal_autocheckpoint = 4000"); // pages: about 16 MB
  database.run("PRAGMA journal_size_limit = 67108864"); // bytes
  database.run("PRAGMA temp_store = MEMORY");
}

function checkOwner(database: Database, path: string): void {
  const owner = pragma(database, "application_id");
  const tables =
    database.query<{ count: number }, []>("SELECT count(*) AS count FROM sqlite_schema").get()?.count ?? 0;
  if (owner === applicationId || (owner === 0 && tables === 0)) return;
  throw new Failure("failed_precondition", `Cannot open database "${path}": it belongs to another program`);
}

function checkVersion(database: Database, path: string, migrations: readonly string[]): void {
  const version = pragma(database, "user_version");
  if (version <= migrations.length) return;
  throw new Failure(
    "failed_precondition",
    `Cannot open database "${path}": it was written by a newer baaaht (its schema is ${version}, this program knows ${migrations.length}); run that version or restore an older data folder`,
  );
}

function migrate(database: Database, migrations: readonly string[]): void {
  const version = pragma(database, "user_version");
  if (version === migrations.length) return;
  database.transaction(() => {
    for (const step of migrations.slice(version)) database.run(step);
    if (version === 0) {
      database.run(`PRAGMA application_id = ${applicationId}`);
      const insert = database.query('INSERT INTO meta ("key", value) VALUES (?, ?)');
      insert.run("epoch", crypto.randomUUID().replaceAll("-", "").slice(0, 12));
      insert.run("install", Bun.randomUUIDv7());
    }
    database.run(`PRAGMA user_version = ${migrations.length}`);
  })();
}

function pragma(database: Database, name: "application_id" | "user_version"): number {
  const row = database.query<Record<string, number>, []>(`PRAGMA ${name}`).get();
  return row?.[name] ?? 0;
}

function openFailure(error: unknown, path: string): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "SQLITE_NOTADB") {
    return new Failure("failed_precondition", `Cannot open database "${path}": the file is not a database`, {
      cause: error,
    });
  }
  if (code.startsWith("SQLITE_CORRUPT")) {
    return new Failure(
      "data_loss",
      `Cannot open database "${path}": the file is damaged; restore it from a backup`,
      {
        cause: error,
      },
    );
  }
  return sqliteFailure(error, `open database "${path}"`);
}
