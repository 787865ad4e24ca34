import type { Store } from "../../src/store/store.ts";
import type { Table } from "../../src/store/table.ts";

/** An open store, and the way to open what it has written again, as a restart does. */
export interface StoreSubject extends AsyncDisposable {
  readonly store: Store;
  /** Closes the store that is open and opens its data again. */
  readonly reopen: () => Promise<Store>;
}

/** The rows that the suite is about. */
export interface Note {
  readonly id: string;
  readonly topic: string;
  readonly rank: number | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export const noteTable: Table<Note> = {
  name: "notes",
  bigints: "some",
  key: (note) => note.id,
  columns: { topic: (note) => note.topic, rank: (note) => note.rank },
  labels: (note) => note.labels,
};

/** For stores that need a schema: what `noteTable` needs. */
export const noteMigration = `
  CREATE TABLE notes ("key" TEXT PRIMARY KEY, body TEXT NOT NULL, labels TEXT, topic TEXT NOT NULL, rank INTEGER) STRICT;
`;

/** A table of the same rows whose saving fails: for what has to be undone. */
export const brokenTable: Table<Note> = {
  ...noteTable,
  columns: {
    topic: () => {
      throw new Error("this row can't be saved");
    },
  },
};

export function note(id: string, rest: Partial<Note> = {}): Note {
  return { id, topic: "", rank: null, labels: {}, body: null, ...rest };
}
