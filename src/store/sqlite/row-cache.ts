/**
 * Rows that were read or written lately, so that what is asked for again is not decoded again. One process writes the
 * database, so the cache is never stale; whoever rolls back clears it. Bounded by the size of the rows' JSON text.
 */
export class RowCache {
  readonly #entries = new Map<string, { readonly row: unknown; readonly size: number }>();
  readonly #maxSize: number;
  #size = 0;

  /** @param maxSize in UTF-16 units of JSON text */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** @param name as `rowName` makes it, here and below */
  get(name: string): unknown {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    // The last to go now.
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return entry.row;
  }

  set(name: string, row: unknown, size: number): void {
    this.delete(name);
    if (size > this.#maxSize / 16) return;
    this.#entries.set(name, { row, size });
    this.#size += size;
    while (this.#size > this.#maxSize) {
      const oldest = this.#entries.keys().next();
      if (oldest.done) return;
      this.delete(oldest.value);
    }
  }

  delete(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    this.#size -= entry.size;
  }

  clear(): void {
    this.#entries.clear();
    this.#size = 0;
  }
}

/** What tells a row from all others. */
export function rowName(table: string, key: string): string {
  return `${table}/${key}`;
}
