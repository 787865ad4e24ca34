import { changed, type Load, remove, type Store } from "./store.ts";
import type { Query, Table } from "./table.ts";

/** How many rows one commit removes: bounds how long the store is held. */
const step = 500;

/**
 * Removes the rows of a query, a bounded number a commit: all of them, or the first `most` in the query's order. Ends early
 * when the signal aborts. A row that has changed since it was listed is left to the next look.
 */
export async function removeWhere<Row>(
  store: Store,
  table: Table<Row>,
  options: { readonly query: Query; readonly signal: AbortSignal; readonly most?: number },
): Promise<void> {
  let left = options.most ?? Number.POSITIVE_INFINITY;
  while (left > 0 && !options.signal.aborted) {
    const { rows } = await store.list(table, { ...options.query, limit: Math.min(step, left) });
    if (rows.length === 0) return;
    left -= rows.length;
    const keys = rows.map((row) => table.key(row));
    const load: Record<string, Load<Row>> = Object.fromEntries(keys.map((key) => [key, { table, key }]));
    await store.change(load, (loaded) => {
      const same = rows.filter((row) => Bun.deepEquals(loaded[table.key(row)], row));
      return changed(
        undefined,
        same.map((row) => remove(table, table.key(row))),
      );
    });
  }
}
