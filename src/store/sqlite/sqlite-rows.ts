import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { type Load, maxPageText, type RowChange } from "../store.ts";
import type { PageQuery, Query, Table } from "../table.ts";
import { countSql, pageSql } from "./query.ts";
import { RowCache, rowName } from "./row-cache.ts";
import { decodeRow, encodeRow } from "./row-codec.ts";
import { UnsavedRows } from "./unsaved-rows.ts";

/** In UTF-16 units of JSON text. */
const cacheSize = 16_000_000;

/** The rows of all tables: read through a cache, changed within the store's transaction. */
export class SqliteRows {
  readonly #database: Database;
  readonly #cache = new RowCache(cacheSize);
  readonly #unsaved = new UnsavedRows();
  readonly #puts = new Map<Table<never>, Statement>();

  constructor(database: Database) {
    this.#database = database;
  }

  load(load: Load<unknown>): unknown {
    if ("count" in load) {
      this.save(); // the query looks at what is written
      return this.count(load.table, load.count);
    }
    return load.key === undefined ? undefined : this.row(load.table, load.key);
  }

  /** With what the commit that is being made has done to it, if one is: the event loop lets no other reader see that. */
  row<Row>(table: Table<Row>, key: string): Row | undefined {
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

  page<Row>(table: Table<Row>, query: PageQuery): { readonly rows: readonly Row[]; readonly more: boolean } {
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

  /** @param most where counting ends; `true`: nowhere */
  count<Row>(table: Table<Row>, query: Query, most: true | number = true): number {
    const { text, values } = countSql(table.name, query, most === true ? undefined : most);
    return this.#database.query<{ count: number }, SQLQueryBindings[]>(text).get(...values)?.count ?? 0;
  }

  /** Writes what was noted, within the transaction that the caller holds. */
  save(): void {
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

  /** Notes what becomes of a row; `save` writes it. */
  note(change: RowChange): void {
    this.#unsaved.add(change);
  }

  /** Forgets what was noted, and what the cache may have of it. */
  rolledBack(): void {
    this.#cache.clear();
    this.#unsaved.take();
  }
}

function putSql<Row>(table: Table<Row>): string {
  const names = ['"key"', "body", ...Object.keys(table.columns).map((name) => `"${name}"`)];
  if (table.labels !== undefined) names.push("labels");
  const updates = names.slice(1).map((name) => `${name} = excluded.${name}`);
  return `INSERT INTO "${table.name}" (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")}) ON CONFLICT ("key") DO UPDATE SET ${updates.join(", ")}`;
}

export function columnOf<Row>(table: Table<Row>, name: string, row: Row) {
  const read = table.columns[name];
  if (read === undefined) throw new Error(`table ${table.name} has no column "${name}"`);
  return read(row);
}
