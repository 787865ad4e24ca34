import type { RowChange } from "../store.ts";
import { rowName } from "./row-cache.ts";

/**
 * What the changes of the commit that is being made have done to rows, before it is written. A row that many of them
 * changed, such as a session's activity under load, is written once: as the last one left it.
 */
export class UnsavedRows {
  #changes = new Map<string, RowChange>();

  /** What has become of a row, by its `rowName`; `undefined` when nothing has. */
  get(name: string): RowChange | undefined {
    return this.#changes.get(name);
  }

  add(change: RowChange): void {
    const key = "put" in change ? change.table.key(change.put) : change.remove;
    this.#changes.set(rowName(change.table.name, key), change);
  }

  /** Gives what is to be written, by `rowName`, and forgets it. */
  take(): ReadonlyMap<string, RowChange> {
    const changes = this.#changes;
    if (changes.size > 0) this.#changes = new Map();
    return changes;
  }
}
