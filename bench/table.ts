import { isMet, type Row } from "./figure.ts";
import type { Sample } from "./statistics.ts";

const head = ["figure", "unit", "ours", "bare", "ratio", "target", "met"];

/** The rows as columns of text, for a terminal. */
export function textTable(rows: readonly Row[]): string {
  const lines = [head, ...rows.map(cells)];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The same in Markdown. */
export function markdownTable(rows: readonly Row[]): string {
  return [head, head.map(() => "---"), ...rows.map(cells)]
    .map((line) => `| ${line.join(" | ")} |`)
    .join("\n");
}

function cells(row: Row): string[] {
  return [
    row.what,
    row.unit,
    sampleText(row.ours),
    row.bare === undefined ? "" : `${sampleText(row.bare.sample)} ${row.bare.what}`,
    row.ratio === undefined ? "" : row.ratio.toFixed(2),
    targetText(row),
    metText(row),
  ];
}

/** "12,300 (11,900 to 12,800)": the median, and between what it lay. */
export function sampleText({ median, min, max, count }: Sample): string {
  return count === 1 ? number(median) : `${number(median)} (${number(min)} to ${number(max)})`;
}

export function targetText({ target }: Row): string {
  if (target.of === "none") return "";
  const sign = { "at least": ">=", "at most": "<=", below: "<" }[target.is];
  return target.of === "ratio"
    ? `${sign} ${target.value.toFixed(2)} of bare`
    : `${sign} ${number(target.value)}`;
}

function metText(row: Row): string {
  const met = isMet(row);
  if (met === undefined) return "";
  return met ? "yes" : "NO";
}

/** Three digits are as many as such measurements are good for. */
function number(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}
