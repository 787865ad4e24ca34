import type { Draft } from "./editor.ts";

/** What is drawn before the first line, and before each further one; as wide as each other. */
const FIRST = "> ";
const FURTHER = "  ";

/** Draws what is typed, over what it has drawn before. */
export class DraftView {
  /** How many rows the place is below the first. */
  #row = 0;

  /** What draws it on a terminal of this width. */
  draw({ text, at }: Draft, columns: number): string {
    const lines = text.split("\n").map((line, index) => (index === 0 ? FIRST : FURTHER) + line);
    const shown = `${this.#toStart()}\u001b[J${lines.join("\r\n")}`;
    const end = placeOf(lines, columns);
    const beforeLines = text.slice(0, at).split("\n");
    const place = placeOf(
      beforeLines.map((line, index) => (index === 0 ? FIRST : FURTHER) + line),
      columns,
    );
    // A row that is just full leaves the cursor at its end; a space brings it to the next one.
    const wrapped = end.isFull ? " \r" : "";
    this.#row = place.row;
    const up = end.row - place.row;
    return `${shown}${wrapped}\r${up > 0 ? `\u001b[${up}A` : ""}${place.column > 0 ? `\u001b[${place.column}C` : ""}`;
  }

  /** What takes it away again. */
  clear(): string {
    const shown = `${this.#toStart()}\u001b[J`;
    this.#row = 0;
    return shown;
  }

  /** What leaves it there and goes on below. */
  leave(draft: Draft, columns: number): string {
    const shown = this.draw({ text: draft.text, at: draft.text.length }, columns);
    this.#row = 0;
    return `${shown}\r\n`;
  }

  #toStart(): string {
    return `\r${this.#row > 0 ? `\u001b[${this.#row}A` : ""}`;
  }
}

/** Where the end of these lines is. */
function placeOf(
  lines: readonly string[],
  columns: number,
): { readonly row: number; readonly column: number; readonly isFull: boolean } {
  const widths = lines.map((line) => Bun.stringWidth(line));
  const last = widths.at(-1) ?? 0;
  const rowsAbove = widths
    .slice(0, -1)
    .reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
  const isFull = last > 0 && last % columns === 0;
  return { row: rowsAbove + Math.floor(last / columns), column: last % columns, isFull };
}
