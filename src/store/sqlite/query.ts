import type { SQLQueryBindings } from "bun:sqlite";
import type { ColumnValue, PagePlace, PageQuery, Query, Range } from "../table.ts";

export interface Sql {
  readonly text: string;
  readonly values: SQLQueryBindings[];
}

/** The statement that reads a page of `table`, one row more than asked for, so that the last page is known. */
export function pageSql(table: string, query: PageQuery): Sql {
  const alternatives = query.orderBy === undefined ? alternativesOf(query) : [];
  if (alternatives.length > 1) return mergedPageSql(table, { query, alternatives });
  const { text, values } = conditions(query);
  const order = query.orderBy === undefined ? '"key"' : column(query.orderBy);
  const direction = query.descending ? "DESC" : "ASC";
  const terms = [...text];
  if (query.after !== undefined) {
    const beyond = beyondPlace(query, query.after);
    terms.push(beyond.text);
    values.push(...beyond.values);
  }
  const ordering =
    query.orderBy === undefined ? `"key" ${direction}` : `${order} ${direction}, "key" ${direction}`;
  values.push(query.limit + 1);
  return { text: `SELECT "key", body FROM "${table}"${where(terms)} ORDER BY ${ordering} LIMIT ?`, values };
}

/**
 * The same of a query for several values of a column: one walk along an index for each, of which each goes only as far as
 * the page does. SQLite would read all rows of all values, and sort them.
 */
function mergedPageSql(
  table: string,
  { query, alternatives }: { readonly query: PageQuery; readonly alternatives: readonly Query[] },
): Sql {
  const direction = query.descending ? "DESC" : "ASC";
  const values: SQLQueryBindings[] = [];
  const walks = alternatives.map((alternative) => {
    const one = conditions(alternative);
    const beyond = query.after === undefined ? undefined : beyondPlace(query, query.after);
    values.push(...one.values, ...(beyond?.values ?? []));
    return `SELECT "key" FROM "${table}"${where([...one.text, ...(beyond === undefined ? [] : [beyond.text])])}`;
  });
  values.push(query.limit + 1);
  const keys = `${walks.join(" UNION ALL ")} ORDER BY 1 ${direction} LIMIT ?`;
  return {
    text: `SELECT "key", body FROM "${table}" WHERE "key" IN (${keys}) ORDER BY "key" ${direction}`,
    values,
  };
}

/** SQLite takes 500. */
const mostAlternatives = 400;

/** The queries for one value each that together are this one; none when it is of one value for each of its columns. */
function alternativesOf(query: PageQuery): readonly Query[] {
  const severals = Object.entries(query.where ?? {}).filter((entry) => Array.isArray(entry[1]));
  const [name, wanted] = severals[0] ?? [];
  if (severals.length !== 1 || name === undefined || !Array.isArray(wanted)) return [];
  const distinct: readonly string[] = [...new Set<string>(wanted)];
  if (distinct.length > mostAlternatives) return [];
  return distinct.map((value) => ({ ...query, where: { ...query.where, [name]: value } }));
}

/** The term that says that a row comes after `place`. Nulls, which compare with nothing, are the least of a column. */
function beyondPlace(query: Query, place: PagePlace): Sql {
  const beyond = query.descending ? "<" : ">";
  if (query.orderBy === undefined) return { text: `"key" ${beyond} ?`, values: [place.key] };
  const name = column(query.orderBy);
  if (place.value === null) {
    const rest = query.descending ? `${name} IS NULL AND "key" < ?` : `(${name} IS NOT NULL OR "key" > ?)`;
    return { text: rest, values: [place.key] };
  }
  const text = `(${name}, "key") ${beyond} (?, ?)`;
  return { text: query.descending ? `(${text} OR ${name} IS NULL)` : text, values: [place.value, place.key] };
}

/** The statement that counts the rows of a query, up to `most` if that is given. */
export function countSql(table: string, query: Query, most?: number): Sql {
  const { text, values } = conditions(query);
  if (most === undefined) return { text: `SELECT count(*) AS count FROM "${table}"${where(text)}`, values };
  const rows = `SELECT 1 FROM "${table}"${where(text)} LIMIT ?`;
  return { text: `SELECT count(*) AS count FROM (${rows})`, values: [...values, most] };
}

/** The terms that say that `labels` (a JSON object in the column of that name) has all of these. */
export function labelTerms(labels: Readonly<Record<string, string>>): {
  text: string[];
  values: SQLQueryBindings[];
} {
  const entries = Object.entries(labels);
  const one = "EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND label.value = ?)";
  const text = entries.slice(0, maxTerms).map(() => one);
  const values: SQLQueryBindings[] = entries.slice(0, maxTerms).flat();
  if (entries.length > maxTerms) {
    text.push(`NOT EXISTS (
      SELECT 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (
        SELECT 1 FROM json_each(labels) AS label WHERE label.key = wanted.key AND label.value = wanted.value))`);
    values.push(JSON.stringify(Object.fromEntries(entries.slice(maxTerms))));
  }
  return { text, values };
}

/** How many labels get a term each, which is fastest; more share one, since an expression's depth is bounded. */
const maxTerms = 32;

function conditions(query: Query): { text: string[]; values: SQLQueryBindings[] } {
  const { text, values } = labelTerms(query.labels ?? {});
  for (const [name, wanted] of Object.entries(query.where ?? {})) {
    if (Array.isArray(wanted)) {
      text.push(`${column(name)} IN (${wanted.map(() => "?").join(", ")})`);
      values.push(...wanted);
    } else if (wanted === null) {
      text.push(`${column(name)} IS NULL`);
    } else if (typeof wanted === "object") {
      addRange({ text, values }, column(name), wanted as Range); // neither array nor null: a Range, by the type of where
    } else {
      text.push(`${column(name)} = ?`);
      values.push(wanted as ColumnValue); // a string or a number, by the type of where
    }
  }
  return { text, values };
}

const operators = { gt: ">", gte: ">=", lt: "<", lte: "<=" } as const;

function addRange(into: { text: string[]; values: SQLQueryBindings[] }, name: string, range: Range): void {
  for (const bound of ["gt", "gte", "lt", "lte"] as const) {
    const value = range[bound];
    if (value === undefined) continue;
    into.text.push(`${name} ${operators[bound]} ?`);
    into.values.push(value);
  }
}

function where(terms: readonly string[]): string {
  return terms.length === 0 ? "" : ` WHERE ${terms.join(" AND ")}`;
}

/** Column names come from Table declarations, never from requests; this holds that. */
function column(name: string): string {
  if (!/^[a-zA-Z]+$/.test(name)) throw new Error(`"${name}" can't be a column's name`);
  return `"${name}"`;
}
