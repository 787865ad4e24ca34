import { Database } from "bun:sqlite";
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** How a bare thing is measured: where, for how long, and for the database with what. */
interface Timed {
  readonly folder: string;
  readonly seconds: number;
}

/**
 * How many messages bare SQLite stores in a second, `group` of them in each durable commit: a row of the message, one of
 * the session's activity and one of the event, in tables and with settings like the server's, nothing around it.
 */
export function bareCommitsPerSecond(
  options: Timed & { readonly group: number; readonly content: string },
): number {
  const { folder, group, seconds, content } = options;
  const path = join(folder, "bare.db");
  const database = new Database(path, { create: true, strict: true });
  try {
    for (const statement of setUp) database.run(statement);
    const commit = database.transaction((first: number) => {
      for (let ordinal = first; ordinal < first + group; ordinal += 1) store(database, ordinal, content);
    });
    const begin = performance.now();
    let stored = 0;
    while (performance.now() - begin < seconds * 1000) {
      commit.immediate(stored + 1);
      stored += group;
    }
    return (stored * 1000) / (performance.now() - begin);
  } finally {
    database.close();
    for (const end of ["", "-wal", "-shm"]) rmSync(`${path}${end}`, { force: true });
  }
}

/** How often in a second 4 KiB at a file's end are written and synced: what a disk allows one writer. */
export function syncsPerSecond({ folder, seconds }: Timed): number {
  const path = join(folder, "bare.sync");
  const fd = openSync(path, "w");
  const block = Buffer.alloc(4096, 1);
  try {
    const begin = performance.now();
    let synced = 0;
    while (performance.now() - begin < seconds * 1000) {
      writeSync(fd, block);
      fdatasyncSync(fd);
      synced += 1;
    }
    return (synced * 1000) / (performance.now() - begin);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}

const setUp = [
  "PRAGMA locking_mode = EXCLUSIVE",
  "PRAGMA journal_mode = WAL",
  "PRAGMA synchronous = FULL",
  "PRAGMA cache_size = -16384",
  "PRAGMA wal_autocheckpoint = 4000",
  `CREATE TABLE messages ("key" TEXT PRIMARY KEY, body TEXT NOT NULL, sessionId TEXT NOT NULL, ordinal INTEGER NOT NULL) STRICT`,
  `CREATE UNIQUE INDEX messages_ordinal ON messages (sessionId, ordinal, "key")`,
  `CREATE TABLE activities ("key" TEXT PRIMARY KEY, body TEXT NOT NULL, dueAt INTEGER) STRICT`,
  `CREATE TABLE events (position INTEGER PRIMARY KEY, at INTEGER NOT NULL, type TEXT NOT NULL, source TEXT NOT NULL,
     priority TEXT NOT NULL, sessionId TEXT, containerId TEXT, taskId TEXT, agentId TEXT, labels TEXT, body TEXT NOT NULL) STRICT`,
  "CREATE INDEX events_at ON events (at)",
];

const sessionId = Bun.randomUUIDv7();

function store(database: Database, ordinal: number, content: string): void {
  const id = Bun.randomUUIDv7();
  const at = Date.now();
  const metadata = { containerId: "", toolName: "", toolCallId: "", extra: {} };
  const message = { id, role: "user", content, metadata, sessionId, ordinal, at };
  database
    .query(`INSERT INTO messages ("key", body, sessionId, ordinal) VALUES (?, ?, ?, ?)`)
    .run(`${sessionId}/${id}`, JSON.stringify(message), sessionId, ordinal);
  const activity = { sessionId, lastAt: at, messageCount: ordinal, expiresAt: null, dueAt: null };
  database
    .query(
      `INSERT INTO activities ("key", body, dueAt) VALUES (?, ?, ?) ON CONFLICT ("key") DO UPDATE SET body = excluded.body, dueAt = excluded.dueAt`,
    )
    .run(sessionId, JSON.stringify(activity), null);
  const event = {
    type: "message_created",
    source: "orchestrator.grpc",
    at,
    actor: "uid:1000",
    correlationId: id,
    data: { message_id: id, role: "user", ordinal: String(ordinal) },
    sessionId,
    labels: {},
    position: ordinal,
    id,
  };
  database
    .query(
      "INSERT INTO events (position, at, type, source, priority, sessionId, containerId, taskId, agentId, labels, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .run(
      ordinal,
      at,
      event.type,
      event.source,
      "normal",
      sessionId,
      null,
      null,
      null,
      "{}",
      JSON.stringify(event),
    );
}
