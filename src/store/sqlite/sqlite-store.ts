import type { Database } from "bun:sqlite";
import type { LogEvent, Position } from "../../events/event.ts";
import { Failure } from "../../failure.ts";
import type { Decision, Listing, Loaded, Loads, Store } from "../store.ts";
import type { PageQuery, Query, Table } from "../table.ts";
import { openDatabase } from "./database.ts";
import { sameFile } from "./same-file.ts";
import { SqliteEvents } from "./sqlite-events.ts";
import { sqliteFailure } from "./sqlite-failures.ts";
import { columnOf, SqliteRows } from "./sqlite-rows.ts";
import {
  busyFailure,
  closedFailure,
  databaseGoneFailure,
  logGoneFailure,
  lostFailure,
  stalledFailure,
} from "./store-failures.ts";
import { WriteAheadLog } from "./write-ahead-log.ts";

/** The bound on what one commit holds: it bounds how long the event loop is held. */
const maxBatch = 512;

/** How long the disk may take to confirm a commit before that is called a problem. */
const stalledAfterMs = 10_000;

/** The bound on changes that wait for a commit; beyond it a change is refused at once. */
const maxWaiting = 20_000;

interface Waiting {
  readonly load: Loads;
  readonly decide: (loaded: Loaded<Loads>) => Decision<unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What a commit has written, until the disk has confirmed it. */
interface Written {
  /** Each tells one caller what has become of its change; a `failure` is that of the confirmation. */
  readonly settlements: ((failure?: unknown) => void)[];
  readonly appended: LogEvent[];
  /** Whether there is anything that the disk has to confirm before the callers may hear of it. */
  holds: "nothing" | "changes";
}

interface SqliteStoreOptions {
  readonly migrations?: readonly string[];
  /** Makes what was committed durable; by default the write-ahead log's own `sync`. */
  readonly sync?: () => Promise<void>;
  /** How long the disk may take for that before reads don't wait for it any more; by default 10 s. */
  readonly stalledAfterMs?: number;
}

/**
 * A store in one SQLite file (WAL) that this process alone has open. Changes that arrive while a commit is on its way to the
 * disk are committed together by the next one, with one sync, which another thread waits for. One commit is on its way at a
 * time, and what reads meanwhile waits for it, so that nobody hears of what a loss of power could take back.
 */
export class SqliteStore implements Store {
  readonly events: SqliteEvents;
  /** Made with the database: tells this install's containers from others'. UUIDv7. */
  readonly install: string;
  readonly #database: Database;
  readonly #rows: SqliteRows;
  readonly #path: string;
  readonly #look: ReturnType<typeof sameFile>;
  readonly #log: WriteAheadLog;
  readonly #sync: () => Promise<void>;
  readonly #stalledAfterMs: number;
  #waiting: Waiting[] = [];
  #scheduled = false;
  /** The commit that is on its way to the disk. */
  #syncing: Promise<void> | undefined;
  /** Set once a commit was confirmed in no way: what is in memory and what is in the file may differ from then on. */
  #lost: Failure | undefined;
  readonly #losing = Promise.withResolvers<Failure>();
  #problem: string | undefined;
  #closed = false;

  /** Fails as `openDatabase` does. */
  constructor(path: string, options: SqliteStoreOptions = {}) {
    this.#database = openDatabase(path, options.migrations);
    this.#path = path;
    this.#look = sameFile(path);
    this.#log = openLog(path, this.#database);
    this.#sync = options.sync ?? (() => this.#log.sync());
    this.#stalledAfterMs = options.stalledAfterMs ?? stalledAfterMs;
    this.#rows = new SqliteRows(this.#database);
    this.events = new SqliteEvents(this.#database);
    const meta = this.#database
      .query<{ value: string }, []>("SELECT value FROM meta WHERE \"key\" = 'install'")
      .get();
    this.install = meta?.value ?? "";
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** Resolves when the disk has not said whether a commit is saved. What is saved is found out by opening the file again. */
  get whenLost(): Promise<Failure> {
    return this.#losing.promise;
  }

  get<Row>(table: Table<Row>, key: string): Promise<Row | undefined> {
    return this.#reading(`read ${table.name}`, () => this.#rows.row(table, key));
  }

  list<Row>(table: Table<Row>, query: PageQuery): Promise<Listing<Row>> {
    return this.#reading(`list ${table.name}`, () => {
      const { rows, more } = this.#rows.page(table, query);
      const last = rows.at(-1);
      const value =
        last === undefined || query.orderBy === undefined ? null : columnOf(table, query.orderBy, last);
      return {
        rows,
        total: query.total === undefined ? rows.length : this.#rows.count(table, query, query.total),
        ...(more && last !== undefined ? { next: { value, key: table.key(last) } } : {}),
        position: this.events.tail,
      };
    });
  }

  count<Row>(table: Table<Row>, query: Query): Promise<number> {
    return this.#reading(`count ${table.name}`, () => this.#rows.count(table, query));
  }

  change<Names extends Loads, Result>(
    load: Names,
    decide: (loaded: Loaded<Names>) => Decision<Result>,
  ): Promise<Result> {
    if (this.#closed) return Promise.reject(closedFailure());
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    if (this.#waiting.length >= maxWaiting) return Promise.reject(busyFailure(maxWaiting));
    return new Promise<Result>((resolve, reject) => {
      // Result and Names are this call's own on both ends of the queue, so widening them here is undone by resolve.
      this.#waiting.push({ load, decide, resolve, reject } as Waiting);
      this.#schedule();
    });
  }

  trimEvents(before: Position, options: { readonly limit: number }): Promise<number> {
    return this.#reading("trim the event log", () => this.events.trim(before, options.limit));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#syncing !== undefined || this.#waiting.length > 0) {
      await this.#syncing;
      this.#commitWaiting();
    }
    if (this.#closed) return;
    this.#closed = true;
    this.#log[Symbol.dispose]();
    this.#database.close();
  }

  #schedule(): void {
    if (this.#scheduled || this.#syncing !== undefined) return;
    this.#scheduled = true;
    // After this turn of the event loop: all requests that have arrived by then share the commit.
    setImmediate(() => {
      this.#scheduled = false;
      this.#commitWaiting();
    });
  }

  #commitWaiting(): void {
    if (this.#syncing !== undefined || this.#closed) return;
    const batch = this.#waiting.splice(0, maxBatch);
    if (batch.length === 0) return;
    const written = this.#write(batch);
    if (written.holds === "changes") {
      this.#syncing = this.#confirm(written);
      return;
    }
    this.#tell(written);
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** Commits `batch` in one transaction. A write that fails in a batch of many undoes all: they are then tried one by one. */
  #write(batch: readonly Waiting[]): Written {
    const written: Written = { settlements: [], appended: [], holds: "nothing" };
    try {
      this.#checkLog();
    } catch (error) {
      this.#refuse(batch, { error, into: written });
      return written;
    }
    try {
      this.#commit(batch, written);
    } catch (error) {
      if (batch.length === 1) this.#refuse(batch, { error, into: written });
      else for (const waiting of batch) this.#writeAlone(waiting, written);
    }
    return written;
  }

  #writeAlone(waiting: Waiting, written: Written): void {
    try {
      this.#commit([waiting], written);
    } catch (error) {
      this.#refuse([waiting], { error, into: written });
    }
  }

  /** Throws when nothing of `batch` is written; `written` is then as it was. */
  #commit(batch: readonly Waiting[], written: Written): void {
    const { appended } = written;
    const before = { events: appended.length, end: this.events.end };
    const settlements: Written["settlements"] = [];
    try {
      if (this.#database.inTransaction) this.#database.query("ROLLBACK").run(); // what #rollback could not
      this.#database.query("BEGIN IMMEDIATE").run();
      let notes = 0;
      for (const waiting of batch) notes += this.#apply(waiting, appended, settlements);
      this.#rows.save();
      const state = this.#look();
      if (state !== "the same") throw databaseGoneFailure(this.#path, state);
      this.#database.query("COMMIT").run();
      if (notes > 0) written.holds = "changes";
    } catch (error) {
      this.#rollback();
      appended.length = before.events;
      this.events.end = before.end;
      throw error;
    }
    this.#problem = undefined;
    written.settlements.push(...settlements);
  }

  #refuse(
    batch: readonly Waiting[],
    { error, into }: { readonly error: unknown; readonly into: Written },
  ): void {
    const failure = sqliteFailure(error, "save the change");
    // What one request did wrong says nothing of the storage.
    if (isOfStorage(failure)) this.#problem = failure.message;
    for (const waiting of batch) into.settlements.push(() => waiting.reject(failure));
  }

  async #confirm(written: Written): Promise<void> {
    const stalled = setTimeout(() => {
      this.#problem = stalledFailure(this.#stalledAfterMs).message;
    }, this.#stalledAfterMs);
    const failure = await this.#unlessSynced();
    clearTimeout(stalled);
    this.#syncing = undefined;
    if (failure !== undefined) return this.#lose(written, failure);
    this.#problem = undefined;
    if (this.#waiting.length > 0) this.#schedule(); // first: a listener's defect must not keep them waiting
    this.#tell(written);
  }

  /** Why the disk has not confirmed what is committed. */
  async #unlessSynced(): Promise<Failure | undefined> {
    try {
      await this.#sync();
      return undefined;
    } catch (cause) {
      try {
        this.#checkpoint();
        return undefined;
      } catch {
        return lostFailure(cause);
      }
    }
  }

  /** Writes all that is committed into the database itself, which is synced: another way to durability than the log's. */
  #checkpoint(): void {
    const done = this.#database.query<{ busy: number }, []>("PRAGMA wal_checkpoint(TRUNCATE)").get();
    if (done?.busy !== 0) throw new Error("the checkpoint was not made: the database is in use");
  }

  /** What is written is not told, and may be there nevertheless: nothing that is decided from here on would be right. */
  #lose(written: Written, failure: Failure): void {
    this.#lost = failure;
    this.#problem = failure.message;
    for (const settle of written.settlements) settle(failure);
    for (const { reject } of this.#waiting.splice(0)) reject(failure);
    this.#losing.resolve(failure);
  }

  /** What lies in a log that was removed is in the database by then, so that nothing is lost with it. */
  #checkLog(): void {
    if (this.#log.isInPlace) return;
    this.#checkpoint();
    throw logGoneFailure(this.#log.path);
  }

  #tell({ settlements, appended }: Written): void {
    for (const settle of settlements) settle();
    this.events.published(appended);
  }

  /**
   * Decides one change, notes it, and gives how many rows and events it has noted. A decision that throws has noted none,
   * so only its own caller hears of it.
   */
  #apply(waiting: Waiting, appended: LogEvent[], settlements: Written["settlements"]): number {
    const loaded: Record<string, unknown> = {};
    for (const name in waiting.load) {
      const load = waiting.load[name];
      if (load !== undefined) loaded[name] = this.#rows.load(load);
    }
    let decision: Decision<unknown>;
    try {
      decision = waiting.decide(loaded as Loaded<Loads>); // built from the same names just above
    } catch (error) {
      settlements.push(() => waiting.reject(error));
      return 0;
    }
    for (const change of decision.rows) this.#rows.note(change);
    for (const event of decision.events) {
      appended.push(this.events.insert(this.events.tail + appended.length + 1, event));
    }
    settlements.push((failure) => {
      if (failure === undefined) waiting.resolve(decision.result);
      else waiting.reject(failure);
    });
    return decision.rows.length + decision.events.length;
  }

  #rollback(): void {
    this.#rows.rolledBack();
    try {
      // A full disk can end the transaction by itself.
      if (this.#database.inTransaction) this.#database.query("ROLLBACK").run();
    } catch {
      // The next commit tries it again; this one's callers hear of the failure that came first.
    }
  }

  /** Waits until no commit is on its way to the disk. Failures: UNAVAILABLE when the disk takes too long. */
  async #confirmed(): Promise<void> {
    const timer = Promise.withResolvers<never>();
    const timeout = setTimeout(
      () => timer.reject(stalledFailure(this.#stalledAfterMs)),
      this.#stalledAfterMs,
    );
    try {
      while (this.#syncing !== undefined) await Promise.race([this.#syncing, timer.promise]);
    } finally {
      clearTimeout(timeout);
    }
  }

  async #reading<Result>(doing: string, read: () => Result): Promise<Result> {
    if (this.#syncing !== undefined) await this.#confirmed();
    if (this.#closed) throw closedFailure();
    if (this.#lost !== undefined) throw this.#lost;
    try {
      return read();
    } catch (error) {
      throw sqliteFailure(error, doing);
    }
  }
}

/** Closes the database when that fails. */
function openLog(path: string, database: Database): WriteAheadLog {
  try {
    return new WriteAheadLog(path);
  } catch (error) {
    database.close();
    throw error;
  }
}

function isOfStorage(error: unknown): error is Failure {
  return error instanceof Failure && ["resource_exhausted", "unavailable", "data_loss"].includes(error.kind);
}
