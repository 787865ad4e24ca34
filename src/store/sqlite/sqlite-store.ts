import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import type { LogEvent, Position } from "../../events/event.ts";
import { Failure } from "../../failure.ts";
import {
  type Decision,
  type Listing,
  type Load,
  type Loaded,
  type Loads,
  maxPageText,
  type Store,
} from "../store.ts";
import type { PageQuery, Query, Table } from "../table.ts";
import { openDatabase } from "./database.ts";
import { countSql, pageSql } from "./query.ts";
import { RowCache, rowName } from "./row-cache.ts";
import { decodeRow, encodeRow } from "./row-codec.ts";
import { sameFile } from "./same-file.ts";
import { SqliteEvents } from "./sqlite-events.ts";
import { sqliteFailure } from "./sqlite-failures.ts";
import { UnsavedRows } from "./unsaved-rows.ts";

/** The bound on what one commit holds: it bounds how long the event loop is held. */
const maxBatch = 512;

/** The bound on changes that wait for a commit; beyond it a change is refused at once. */
const maxWaiting = 20_000;

/** In UTF-16 units of JSON text. */
const cacheSize = 16_000_000;

interface Waiting {
  readonly load: Loads;
  readonly decide: (loaded: Loaded<Loads>) => Decision<unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A store in one SQLite file (WAL, synchronous=FULL) that this process alone has open. Changes that arrive while a commit
 * is made are committed together by the next one, with one fsync.
 */
export class SqliteStore implements Store {
  readonly events: SqliteEvents;
  /** Made with the database: tells this install's containers from others'. UUIDv7. */
  readonly install: string;
  readonly #database: Database;
  readonly #cache = new RowCache(cacheSize);
  readonly #unsaved = new UnsavedRows();
  readonly #puts = new Map<Table<never>, Statement>();
  readonly #checkFile: () => void;
  #waiting: Waiting[] = [];
  #scheduled = false;
  #problem: string | undefined;
  #closed = false;

  /** Fails as `openDatabase` does. */
  constructor(path: string, options: { readonly migrations?: readonly string[] } = {}) {
    this.#database = openDatabase(path, options.migrations);
    this.#checkFile = sameFile(path);
    this.events = new SqliteEvents(this.#database);
    const meta = this.#database
      .query<{ value: string }, []>("SELECT value FROM meta WHERE \"key\" = 'install'")
      .get();
    this.install = meta?.value ?? "";
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  async get<Row>(table: Table<Row>, key: string): Promise<Row | undefined> {
    return this.#reading(`read ${table.name}`, () => this.#row(table, key));
  }

  async list<Row>(table: Table<Row>, query: PageQuery): Promise<Listing<Row>> {
    return this.#reading(`list ${table.name}`, () => {
      const { rows, more } = this.#page(table, query);
      const last = rows.at(-1);
      const value =
        last === undefined || query.orderBy === undefined ? null : columnOf(table, query.orderBy, last);
      return {
        rows,
        total: query.total ? this.#count(table, query) : rows.length,
        ...(more && last !== undefined ? { next: { value, key: table.key(last) } } : {}),
        position: this.events.tail,
      };
    });
  }

  async count<Row>(table: Table<Row>, query: Query): Promise<number> {
    return this.#reading(`count ${table.name}`, () => this.#count(table, query));
  }

  change<Names extends Loads, Result>(
    load: Names,
    decide: (loaded: Loaded<Names>) => Decision<Result>,
  ): Promise<Result> {
    if (this.#closed) return Promise.reject(closedFailure());
    if (this.#waiting.length >= maxWaiting) return Promise.reject(busyFailure());
    return new Promise<Result>((resolve, reject) => {
      // Result and Names are this call's own on both ends of the queue, so widening them here is undone by resolve.
      this.#waiting.push({ load, decide, resolve, reject } as Waiting);
      this.#schedule();
    });
  }

  async trimEvents(before: Position, options: { readonly limit: number }): Promise<number> {
    return this.#reading("trim the event log", () => this.events.trim(before, options.limit));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    while (this.#waiting.length > 0) this.#commitBatch();
    this.#closed = true;
    this.#database.close();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After this turn of the event loop: all requests that have arrived by then share the commit.
    setImmediate(() => {
      this.#scheduled = false;
      this.#commitBatch();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #commitBatch(): void {
    const batch = this.#waiting.splice(0, maxBatch);
    if (batch.length === 0 || this.#closed) return;
    if (this.#commit(batch) === "retry_alone") {
      for (const waiting of batch) this.#commit([waiting]);
    }
  }

  /** Commits `batch` in one transaction. A write that fails in a batch of many undoes all: they are then tried one by one. */
  #commit(batch: readonly Waiting[]): "settled" | "retry_alone" {
    const settlements: (() => void)[] = [];
    const appended: LogEvent[] = [];
    try {
      if (this.#database.inTransaction) this.#database.query("ROLLBACK").run(); // what #rollback could not
      this.#database.query("BEGIN IMMEDIATE").run();
      for (const waiting of batch) this.#apply(waiting, appended, settlements);
      this.#saveRows();
      this.#checkFile();
      this.#database.query("COMMIT").run();
    } catch (error) {
      this.#rollback();
      if (batch.length > 1) return "retry_alone";
      const failure = sqliteFailure(error, "save the change");
      // What one request did wrong says nothing of the storage.
      if (isOfStorage(failure)) this.#problem = failure.message;
      for (const waiting of batch) waiting.reject(failure);
      return "settled";
    }
    this.#problem = undefined;
    for (const settle of settlements) settle();
    this.events.published(appended);
    return "settled";
  }

  /** Decides one change and notes it. A decision that throws has noted nothing, so only its own caller hears of it. */
  #apply(waiting: Waiting, appended: LogEvent[], settlements: (() => void)[]): void {
    const loaded: Record<string, unknown> = {};
    for (const name in waiting.load) {
      const load = waiting.load[name];
      if (load !== undefined) loaded[name] = this.#load(load);
    }
    let decision: Decision<unknown>;
    try {
      decision = waiting.decide(loaded as Loaded<Loads>); // built from the same names just above
    } catch (error) {
      settlements.push(() => waiting.reject(error));
      return;
    }
    for (const change of decision.rows) this.#unsaved.add(change);
    for (const event of decision.events) {
      appended.push(this.events.insert(this.events.tail + appended.length + 1, event));
    }
    settlements.push(() => waiting.resolve(decision.result));
  }

  #rollback(): void {
    this.#cache.clear();
    this.#unsaved.take();
    this.events.rolledBack();
    try {
      // A full disk can end the transaction by itself.
      if (this.#database.inTransaction) this.#database.query("ROLLBACK").run();
    } catch {
      // The next commit tries it again; this one's callers hear of the failure that came first.
    }
  }

  #load(load: Load<unknown>): unknown {
    if ("count" in load) {
      this.#saveRows(); // the query looks at what is written
      return this.#count(load.table, load.count);
    }
    return load.key === undefined ? undefined : this.#row(load.table, load.key);
  }

  /** With what the commit that is being made has done to it, if one is: the event loop lets no other reader see that. */
  #row<Row>(table: Table<Row>, key: string): Row | undefined {
    const name = rowName(table.name, key);
    const unsaved = this.#unsaved.get(name);
    if (unsaved !== undefined) return "put" in unsaved ? (unsaved.put as Row) : undefined; // put() has checked it
    const cached = this.#cache.get(name);
    if (cached !== undefined) return cached as Row; // set() below was given a Row of this table
    const found = this.#database
      .query<{ body: string }, [string]>(`SELECT body FROM "${table.name}" WHERE "key" = ?`)
      .get(key);
    if (found === null) return undefined;
    const row = decodeRow(found.body) as Row; // put() is the only writer
    this.#cache.set(name, row, found.body.length);
    return row;
  }

  #page<Row>(table: Table<Row>, query: PageQuery): { readonly rows: readonly Row[]; readonly more: boolean } {
    const { text, values } = pageSql(table.name, query);
    const rows: Row[] = [];
    let size = 0;
    for (const { key, body } of this.#database
      .query<{ key: string; body: string }, SQLQueryBindings[]>(text)
      .iterate(...values)) {
      size += body.length;
      if (rows.length === query.limit || (size > maxPageText && rows.length > 0)) return { rows, more: true };
      // What is listed is not kept: it would push out what is asked for one by one.
      const row = this.#cache.get(rowName(table.name, key)) ?? decodeRow(body);
      rows.push(row as Row); // put() is the only writer
    }
    return { rows, more: false };
  }

  #count<Row>(table: Table<Row>, query: Query): number {
    const { text, values } = countSql(table.name, query);
    return this.#database.query<{ count: number }, SQLQueryBindings[]>(text).get(...values)?.count ?? 0;
  }

  #saveRows(): void {
    for (const [name, change] of this.#unsaved.take()) {
      if ("put" in change) this.#put(change.table, change.put, name);
      else this.#remove(change.table, change.remove, name);
    }
  }

  #put<Row>(table: Table<Row>, row: Row, name: string): void {
    const body = encodeRow(row, table.bigints);
    const values: SQLQueryBindings[] = [table.key(row), body];
    for (const column in table.columns) values.push(columnOf(table, column, row));
    if (table.labels !== undefined) values.push(JSON.stringify(table.labels(row)));
    this.#putStatement(table).run(...values);
    if (this.#cache.get(name) !== undefined) this.#cache.set(name, row, body.length);
  }

  #putStatement<Row>(table: Table<Row>): Statement {
    const known = this.#puts.get(table);
    if (known !== undefined) return known;
    const statement = this.#database.query(putSql(table));
    this.#puts.set(table, statement);
    return statement;
  }

  #remove<Row>(table: Table<Row>, key: string, name: string): void {
    this.#database.query(`DELETE FROM "${table.name}" WHERE "key" = ?`).run(key);
    this.#cache.delete(name);
  }

  #reading<Result>(doing: string, read: () => Result): Result {
    if (this.#closed) throw closedFailure();
    try {
      return read();
    } catch (error) {
      throw sqliteFailure(error, doing);
    }
  }
}

function putSql<Row>(table: Table<Row>): string {
  const names = ['"key"', "body", ...Object.keys(table.columns).map((name) => `"${name}"`)];
  if (table.labels !== undefined) names.push("labels");
  const updates = names.slice(1).map((name) => `${name} = excluded.${name}`);
  return `INSERT INTO "${table.name}" (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")}) ON CONFLICT ("key") DO UPDATE SET ${updates.join(", ")}`;
}

function columnOf<Row>(table: Table<Row>, name: string, row: Row) {
  const read = table.columns[name];
  if (read === undefined) throw new Error(`table ${table.name} has no column "${name}"`);
  return read(row);
}

function isOfStorage(error: unknown): error is Failure {
  return error instanceof Failure && ["resource_exhausted", "unavailable", "data_loss"].includes(error.kind);
}

function closedFailure(): Failure {
  return new Failure("unavailable", "Cannot use the store: it is closed", { reason: "SHUTTING_DOWN" });
}

function busyFailure(): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot save the change: ${maxWaiting} others wait for the disk already`,
    {
      reason: "STORE_BUSY",
      retryAfterMs: 1_000,
    },
  );
}
