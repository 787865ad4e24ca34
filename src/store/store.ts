import type { NewEvent, Position } from "../events/event.ts";
import type { EventStorage } from "../events/storage.ts";
import type { PagePlace, PageQuery, Query, Table } from "./table.ts";

/**
 * Where the state and the log are kept. What every implementation promises (test/contract/store.ts holds it):
 *
 * - A `change` that has resolved is durable, its rows and events together; one that has rejected has changed nothing. Where
 *   the storage does not say which of the two it is, the store answers nothing any more.
 * - Changes happen one after the other: `decide` sees the outcome of all before it. One that fails, fails alone.
 * - Event positions have no holes, and listeners hear of events after their commit, in order.
 * - Reads see what is committed, and nothing else.
 *
 * Failures: RESOURCE_EXHAUSTED when there is no space, UNAVAILABLE when the storage can't be written or read for
 * another reason; reads go on while writes are refused.
 */
export interface Store extends AsyncDisposable {
  readonly events: EventStorage;
  /** Why the last write was refused, if it was: nothing can be changed until one succeeds. */
  readonly problem: string | undefined;

  get<Row>(table: Table<Row>, key: string): Promise<Row | undefined>;
  /**
   * The rows, in the query's order, with the log's position that they are true for. A page of large rows is shorter than
   * its limit, but never empty where there is a row: see `maxPageText`.
   */
  list<Row>(table: Table<Row>, query: PageQuery): Promise<Listing<Row>>;
  count<Row>(table: Table<Row>, query: Query): Promise<number>;

  /**
   * Loads the rows that `load` names, lets `decide` say what becomes of them, and saves that in the next durable commit.
   * `decide` is synchronous and may be called more than once; what it throws rejects this change and no other.
   */
  change<Names extends Loads, Result>(
    load: Names,
    decide: (loaded: Loaded<Names>) => Decision<Result>,
  ): Promise<Result>;

  /** Forgets events: those before `before` but never the newest. Resolves to how many; of large ones, fewer than `limit`. */
  trimEvents(before: Position, options: { readonly limit: number }): Promise<number>;
}

/** How much one page holds at most, in UTF-16 units of its rows' JSON: it bounds memory, and an answer's size. */
export const maxPageText = 16_000_000;

export interface Listing<Row> {
  readonly rows: readonly Row[];
  /** How many rows the query has in all, over all pages, as far as the query asked; otherwise how many are on this page. */
  readonly total: number;
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: PagePlace;
  readonly position: Position;
}

/** What one load asks for: a row by its key (none when that is `undefined`), or how many rows a query has. */
export type Load<Row> =
  | { readonly table: Table<Row>; readonly key: string | undefined }
  | { readonly table: Table<Row>; readonly count: Query };

// biome-ignore lint/suspicious/noExplicitAny: each entry has a row type of its own, which Loaded recovers
export type Loads = Readonly<Record<string, Load<any>>>;

export type Loaded<Names extends Loads> = {
  readonly [Name in keyof Names]: Names[Name] extends { readonly count: Query }
    ? number
    : Names[Name] extends { readonly table: Table<infer Row> }
      ? Row | undefined
      : never;
};

/** What a pure rule has decided: what is saved, what happened, and what its caller hears. */
export interface Decision<Result> {
  readonly result: Result;
  readonly rows: readonly RowChange[];
  readonly events: readonly NewEvent[];
}

export type RowChange =
  // biome-ignore lint/suspicious/noExplicitAny: put() and remove() below are the only makers, and they check the row
  | { readonly put: unknown; readonly table: Table<any> }
  // biome-ignore lint/suspicious/noExplicitAny: see above
  | { readonly remove: string; readonly table: Table<any> };

/** Saves `row`, new or in place of the one with its key. */
export function put<Row>(table: Table<Row>, row: Row): RowChange {
  return { table, put: row };
}

/** Removes the row with this key, if there is one. */
export function remove<Row>(table: Table<Row>, key: string): RowChange {
  return { table, remove: key };
}

/** A decision that changes nothing. */
export function unchanged<Result>(result: Result): Decision<Result> {
  return { result, rows: [], events: [] };
}

/** A decision that saves `rows`, tells `events`, and answers `result`. */
export function changed<Result>(
  result: Result,
  rows: readonly RowChange[],
  events: readonly NewEvent[] = [],
): Decision<Result> {
  return { result, rows, events };
}
