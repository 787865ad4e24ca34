import { removeWhere } from "./remove-where.ts";
import type { Store } from "./store.ts";
import type { Query, Table } from "./table.ts";

/**
 * Removes those rows of `where` whose `orderBy`, a column of times, is at or before `until`, and of the rest the oldest, so
 * that `most` stay. Ends early when the signal aborts.
 */
export async function removeOld<Row>(
  store: Store,
  table: Table<Row>,
  options: {
    readonly where: NonNullable<Query["where"]>;
    readonly orderBy: string;
    readonly until: number;
    readonly most: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { where, orderBy, until, most, signal } = options;
  await removeWhere(store, table, {
    query: { where: { ...where, [orderBy]: { lte: until } }, orderBy },
    signal,
  });
  const excess = (await store.count(table, { where })) - most;
  await removeWhere(store, table, { query: { where, orderBy }, signal, most: excess });
}
