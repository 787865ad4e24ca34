import type { LogEvent, Position } from "../../src/events/event.ts";
import { Failure } from "../../src/failure.ts";
import {
  type Decision,
  type Listing,
  type Load,
  type Loaded,
  type Loads,
  maxPageText,
  type RowChange,
  type Store,
} from "../../src/store/store.ts";
import type { ColumnValue, PagePlace, PageQuery, Query, Range, Table } from "../../src/store/table.ts";
import { MemoryEvents } from "./memory-events.ts";

/** What a memory store has written: it outlives the store, as a disk does. */
export interface MemoryDisk {
  readonly epoch: string;
  tables: Map<string, Map<string, unknown>>;
  events: LogEvent[];
  tail: Position;
}

export function memoryDisk(): MemoryDisk {
  const epoch = crypto.randomUUID().replaceAll("-", "");
  return { epoch, tables: new Map(), events: [], tail: 0 };
}

/** A store in memory: slow, simple, and held by the contract's suite. */
export class MemoryStore implements Store {
  readonly events: MemoryEvents;
  /** Memory takes every write. */
  readonly problem = undefined;
  readonly #disk: MemoryDisk;
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(disk: MemoryDisk = memoryDisk()) {
    this.#disk = disk;
    this.events = new MemoryEvents(disk);
  }

  async get<Row>(table: Table<Row>, key: string): Promise<Row | undefined> {
    this.#check();
    return this.#row(table, key);
  }

  async list<Row>(table: Table<Row>, query: PageQuery): Promise<Listing<Row>> {
    this.#check();
    const all = this.#matching(table, query);
    const { after } = query;
    const rest =
      after === undefined ? all : all.filter((row) => compare(placeOf(table, query, row), after, query) > 0);
    const rows: Row[] = [];
    let size = 0;
    for (const row of rest.slice(0, query.limit)) {
      size += textSize(row);
      if (size > maxPageText && rows.length > 0) break;
      rows.push(structuredClone(row));
    }
    const last = rows.at(-1);
    return {
      rows,
      total:
        query.total === undefined
          ? rows.length
          : Math.min(all.length, query.total === true ? all.length : query.total),
      ...(rows.length < rest.length && last !== undefined ? { next: placeOf(table, query, last) } : {}),
      position: this.#disk.tail,
    };
  }

  async count<Row>(table: Table<Row>, query: Query): Promise<number> {
    this.#check();
    return this.#matching(table, query).length;
  }

  async change<Names extends Loads, Result>(
    load: Names,
    decide: (loaded: Loaded<Names>) => Decision<Result>,
  ): Promise<Result> {
    this.#check();
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      setImmediate(() => this.#waiting.shift()?.());
    });
    const loaded = Object.fromEntries(Object.entries(load).map(([name, one]) => [name, this.#load(one)]));
    const decision = decide(loaded as Loaded<Names>); // built from the same names just above
    this.#save(decision.rows);
    this.events.append(decision.events);
    return decision.result;
  }

  async trimEvents(before: Position, options: { readonly limit: number }): Promise<number> {
    this.#check();
    return this.events.trim(before, options.limit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
    await Promise.resolve(); // the changes that waited go first
  }

  /** All or nothing: what can fail comes before the first write. */
  #save(changes: readonly RowChange[]): void {
    const writes = changes.map((change) => {
      if ("remove" in change) return { name: change.table.name, key: change.remove, row: undefined };
      for (const name in change.table.columns) change.table.columns[name]?.(change.put);
      return { name: change.table.name, key: change.table.key(change.put), row: structuredClone(change.put) };
    });
    for (const { name, key, row } of writes) {
      const rows = this.#disk.tables.get(name) ?? new Map<string, unknown>();
      this.#disk.tables.set(name, rows);
      if (row === undefined) rows.delete(key);
      else rows.set(key, row);
    }
  }

  #load(load: Load<unknown>): unknown {
    if ("count" in load) return this.#matching(load.table, load.count).length;
    return load.key === undefined ? undefined : this.#row(load.table, load.key);
  }

  #row<Row>(table: Table<Row>, key: string): Row | undefined {
    return structuredClone(this.#rows(table).get(key));
  }

  #rows<Row>(table: Table<Row>): ReadonlyMap<string, Row> {
    return (this.#disk.tables.get(table.name) ?? new Map()) as Map<string, Row>; // put() is the only writer
  }

  #matching<Row>(table: Table<Row>, query: Query): Row[] {
    const rows = [...this.#rows(table).values()].filter((row) => isWanted(table, query, row));
    return rows.sort((left, right) =>
      compare(placeOf(table, query, left), placeOf(table, query, right), query),
    );
  }

  #check(): void {
    if (this.#closed) throw new Failure("unavailable", "Cannot use the store: it is closed");
  }
}

function isWanted<Row>(table: Table<Row>, query: Query, row: Row): boolean {
  const labels = table.labels?.(row) ?? {};
  return (
    Object.entries(query.labels ?? {}).every(([name, value]) => labels[name] === value) &&
    Object.entries(query.where ?? {}).every(([name, wanted]) => holds(wanted, columnOf(table, name, row)))
  );
}

function holds(wanted: ColumnValue | Range | readonly string[], value: ColumnValue): boolean {
  if (wanted === null || typeof wanted !== "object") return value === wanted;
  if (value === null) return false;
  if (Array.isArray(wanted)) return wanted.includes(value);
  const { gt, gte, lt, lte } = wanted as Range; // neither array nor null: a Range, by the type of where
  return (
    (gt === undefined || order(value, gt) > 0) &&
    (gte === undefined || order(value, gte) >= 0) &&
    (lt === undefined || order(value, lt) < 0) &&
    (lte === undefined || order(value, lte) <= 0)
  );
}

function placeOf<Row>(table: Table<Row>, query: Query, row: Row): PagePlace {
  return {
    value: query.orderBy === undefined ? null : columnOf(table, query.orderBy, row),
    key: table.key(row),
  };
}

function compare(left: PagePlace, right: PagePlace, query: Query): number {
  const ascending = order(left.value, right.value) || order(left.key, right.key);
  return query.descending ? -ascending : ascending;
}

function order(left: ColumnValue, right: ColumnValue): number {
  if (left === right) return 0;
  if (left === null) return -1;
  if (right === null) return 1;
  if (typeof left === "number" && typeof right === "number") return left - right;
  return Buffer.compare(Buffer.from(String(left)), Buffer.from(String(right)));
}

function columnOf<Row>(table: Table<Row>, name: string, row: Row): ColumnValue {
  return name === "key" ? table.key(row) : (table.columns[name]?.(row) ?? null);
}

function textSize(row: unknown): number {
  return JSON.stringify(row, (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value))
    .length;
}
