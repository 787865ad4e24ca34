import type { Table } from "./table.ts";

/** A running count, saved with the change that moves it: counting rows would cost more with every row. */
export interface Counter {
  readonly name: string;
  readonly value: number;
}

export const counterTable: Table<Counter> = {
  name: "counters",
  bigints: "none",
  key: (counter) => counter.name,
  columns: {},
};

/** The counter after `by` more (or fewer); one that was never saved stands at 0. */
export function moved(counter: Counter | undefined, name: string, by: number): Counter {
  return { name, value: (counter?.value ?? 0) + by };
}
