/** A value that a query can compare. */
export type ColumnValue = string | number | null;

/**
 * One kind of row: what it is called, which key it has, and by which values it can be found.
 * A row is plain immutable data (strings, numbers, bigints, booleans, nulls, arrays and objects of them).
 */
export interface Table<Row> {
  readonly name: string;
  readonly key: (row: Row) => string;
  /** What `where` and `orderBy` can use. Adding one needs a migration. */
  readonly columns: Readonly<Record<string, (row: Row) => ColumnValue>>;
  /** Whether a row can hold bigints; rows without them are encoded faster. */
  readonly bigints: "none" | "some";
  /** The labels that `Query.labels` searches. */
  readonly labels?: (row: Row) => Readonly<Record<string, string>>;
}

export interface Range {
  readonly gt?: string | number;
  readonly gte?: string | number;
  readonly lt?: string | number;
  readonly lte?: string | number;
}

/**
 * Which rows. Every condition that is given must hold; a column that is null matches no range. `key` is a column of every
 * table.
 */
export interface Query {
  readonly where?: Readonly<Record<string, ColumnValue | Range | readonly string[]>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** A column; nulls are its least, and rows that agree in it are ordered by key. By key when absent. Texts by their UTF-8. */
  readonly orderBy?: string;
  readonly descending?: true;
}

/** A page of a query: at most `limit` rows after the place that `after` names. */
export interface PageQuery extends Query {
  readonly limit: number;
  readonly after?: PagePlace | undefined;
  /** Counts the rows of all pages too, which costs a walk over them; a number: over so many at most. */
  readonly total?: true | number;
}

/** Where a page ended: the value of the order's column and the key of its last row. */
export interface PagePlace {
  readonly value: ColumnValue;
  readonly key: string;
}
