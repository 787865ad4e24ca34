import { describe } from "bun:test";
import { storeChanges } from "./store-changes.ts";
import { storeEvents } from "./store-events.ts";
import { storeQueries } from "./store-queries.ts";
import { storeRows } from "./store-rows.ts";
import type { StoreSubject } from "./store-subject.ts";

/** What every store has to do. `open` gives an empty one. */
export function storeContract(name: string, open: () => Promise<StoreSubject>): void {
  describe(`${name}: changes`, () => storeChanges(open));
  describe(`${name}: rows`, () => storeRows(open));
  describe(`${name}: queries`, () => storeQueries(open));
  describe(`${name}: events`, () => storeEvents(open));
}
