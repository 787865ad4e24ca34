import { type Cell, cell, painted } from "./cell.ts";

export interface Column<Item> {
  /** In capitals. */
  readonly title: string;
  readonly of: (item: Item) => Cell;
  /** It holds ids, which may be shortened where there is little room. */
  readonly isId?: true;
}

export interface TableStyle {
  readonly headers: boolean;
  readonly colours: boolean;
  /** Where the last column is cut; undefined: nowhere. */
  readonly width: number | undefined;
}

/** Lines of aligned columns, two spaces between them and none at a line's end. */
export function table<Item>(
  items: Iterable<Item>,
  { columns, style }: { readonly columns: readonly Column<Item>[]; readonly style: TableStyle },
): string {
  const rows = [...items].map((item) => columns.map((column) => column.of(item)));
  if (style.headers) rows.unshift(columns.map(({ title }) => cell(title, "strong")));
  const ids = columns.flatMap(({ isId }, index) => (isId === true ? [index] : []));
  return aligned(fitted(rows, { ids, width: style.width }), style);
}

/** The rows with ids as short as it takes for the last column to say something: first those of other things, then all. */
function fitted(
  rows: readonly (readonly Cell[])[],
  { ids, width }: { readonly ids: readonly number[]; readonly width: number | undefined },
): readonly (readonly Cell[])[] {
  if (width === undefined) return rows;
  const shortened = (indexes: readonly number[]) =>
    rows.map((row) =>
      row.map((one, index) => (indexes.includes(index) ? { ...one, text: shortId(one.text) } : one)),
    );
  const candidates = [rows, shortened(ids.slice(1)), shortened(ids)];
  return candidates.find((candidate) => neededWidth(candidate) <= width) ?? shortened(ids);
}

function neededWidth(rows: readonly (readonly Cell[])[]): number {
  const widths = widthsOf(rows);
  const last = widths.pop() ?? 0;
  return widths.reduce((sum, width) => sum + width + GAP, Math.min(last, GOOD_LAST_WIDTH));
}

/** An id's beginning: the millisecond that it was made in, which commands find it by as well. */
export function shortId(id: string): string {
  return UUID.test(id) ? id.slice(0, SHORT_ID_LENGTH) : id;
}

/** A label and its value on each line. */
export function details(rows: readonly (readonly [label: string, value: Cell])[], style: TableStyle): string {
  return aligned(
    rows.map(([label, value]) => [cell(`${label}:`, "faint"), value]),
    { ...style, width: undefined },
  );
}

function aligned(rows: readonly (readonly Cell[])[], style: TableStyle): string {
  const widths = widthsOf(rows);
  return rows.map((row) => `${line(row, { widths, style })}\n`).join("");
}

function widthsOf(rows: readonly (readonly Cell[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, { text }] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, Bun.stringWidth(text));
    }
  }
  return widths;
}

function line(
  row: readonly Cell[],
  { widths, style }: { readonly widths: readonly number[]; readonly style: TableStyle },
): string {
  let used = 0;
  let result = "";
  let spaces = "";
  for (const [index, one] of row.entries()) {
    const isLast = index === row.length - 1;
    const room =
      isLast && style.width !== undefined ? Math.max(MIN_LAST_WIDTH, style.width - used) : undefined;
    const text = room === undefined ? one.text : cut(one.text, room);
    if (text !== "") result += spaces + painted({ ...one, text }, style);
    else result += "";
    const width = widths[index] ?? 0;
    const gap = " ".repeat(width - Bun.stringWidth(one.text) + GAP);
    spaces = text === "" ? spaces + gap : gap;
    used += width + GAP;
  }
  return result;
}

/** The text in at most `width` places of a terminal. */
export function cut(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  let result = "";
  let used = 1;
  for (const character of text) {
    used += Bun.stringWidth(character);
    if (used > width) break;
    result += character;
  }
  return `${result}…`;
}

const GAP = 2;

/** A last column narrower than this says nothing. */
const MIN_LAST_WIDTH = 12;

/** With so much of its last column a row says what there is to know. */
const GOOD_LAST_WIDTH = 24;

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;

/** Of `01a21e39-3ac2-…`. */
const SHORT_ID_LENGTH = 13;
