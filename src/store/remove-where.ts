import { changed, remove, type Store } from "./store.ts";
import type { Query, Table } from "./table.ts";

/** How many rows one commit removes: bounds how long the store is held. */
const step = 500;

/** Removes all rows of a query, a bounded number a commit, until none is left or the signal aborts. */
export async function removeWhere<Row>(
  store: Store,
  table: Table<Row>,
  options: { readonly query: Query; readonly signal: AbortSignal },
): Promise<void> {
  while (!options.signal.aborted) {
    const { rows } = await store.list(table, { ...options.query, limit: step });
    if (rows.length === 0) return;
    await store.change({}, () =>
      changed(
        undefined,
        rows.map((row) => remove(table, table.key(row))),
      ),
    );
  }
}
