import { isMet, type Row } from "./figure.ts";
import { sampleText, targetText } from "./table.ts";

const barsFrom = 330;
const barWidth = 320;
const rowHeight = 26;
/** The axis ends at this many times the target. */
const most = 4;

/** A picture of the rows that have a target: how many times each reaches it, 1 being just so. */
export function plot(rows: readonly Row[], title: string): string {
  const shown = rows.filter(({ target }) => target.of !== "none");
  const height = 64 + shown.length * rowHeight;
  const width = barsFrom + barWidth + 330;
  const line = barsFrom + barWidth / most;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" font-size="15" fill="#111">${escaped(title)}</text>
${shown.map((row, index) => bar(row, 52 + index * rowHeight)).join("\n")}
<line x1="${line}" x2="${line}" y1="36" y2="${height - 12}" stroke="#111" stroke-dasharray="3 3"/>
<text x="${line + 4}" y="44" font-size="11" fill="#111">target</text>
</svg>
`;
}

function bar(row: Row, y: number): string {
  const reached = attainment(row);
  const length = (Math.min(reached, most) / most) * barWidth;
  const color = isMet(row) ? "#2a7f62" : "#b3452c";
  const words = `${sampleText(row.ours)} ${row.unit}${row.ratio === undefined ? "" : `, ${row.ratio.toFixed(2)} of bare`}; ${targetText(row)}`;
  return `<text x="${barsFrom - 8}" y="${y + 13}" text-anchor="end" fill="#111">${escaped(row.what)}</text>
<rect x="${barsFrom}" y="${y}" width="${length.toFixed(1)}" height="18" fill="${color}"/>
<text x="${barsFrom + barWidth + 10}" y="${y + 13}" font-size="11" fill="#444">${escaped(words)}</text>`;
}

/** How many times the target is reached, whichever way it points: 2 is twice as good as asked for. */
export function attainment({ ours, ratio, target }: Row): number {
  if (target.of === "none") return 0;
  const value = target.of === "ratio" ? (ratio ?? 0) : ours.median;
  return target.is === "at least" ? value / target.value : target.value / value;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
