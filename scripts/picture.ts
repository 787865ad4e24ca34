/** As many characters as a picture has side by side; longer lines are folded. */
const COLUMNS = 116;
const CHARACTER_WIDTH = 7.23;
const LINE_HEIGHT = 17;
const MARGIN = 16;

/**
 * Draws what a terminal has shown as an SVG that needs nothing else: commands stand out, headings are bold.
 *
 * @example
 * bun run demo | bun scripts/picture.ts > docs/demo.svg
 */
export function picture(text: string): string {
  const lines = text.trimEnd().split("\n").flatMap(folded);
  const width = Math.ceil(COLUMNS * CHARACTER_WIDTH + 2 * MARGIN);
  const height = lines.length * LINE_HEIGHT + 2 * MARGIN;
  const drawn = lines.map(({ kind, words }, index) => {
    const y = MARGIN + (index + 0.75) * LINE_HEIGHT;
    return `<text x="${MARGIN}" y="${y}" xml:space="preserve" class="${kind}">${escaped(words)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>What bun run demo prints</title>
<style>
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; fill: #c9d1d9 }
.command { fill: #7ee787 }
.heading { fill: #ffffff; font-weight: bold }
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${drawn.join("\n")}
</svg>
`;
}

interface Line {
  readonly kind: "command" | "heading" | "output";
  readonly words: string;
}

/** Cuts a line at spaces where there are any near the end, and indents what goes on. */
function folded(line: string): Line[] {
  const kind = line.startsWith("$ ") ? "command" : /^\S/.test(line) ? "heading" : "output";
  const indent = " ".repeat((/^\s*/.exec(line)?.[0].length ?? 0) + 4);
  const lines: Line[] = [];
  let rest = line.trimEnd();
  while (rest.length > COLUMNS) {
    const space = rest.lastIndexOf(" ", COLUMNS);
    const end = space > COLUMNS / 2 ? space : COLUMNS;
    lines.push({ kind, words: rest.slice(0, end).trimEnd() });
    rest = indent + rest.slice(end).trimStart();
  }
  return [...lines, { kind, words: rest }];
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

if (import.meta.main) process.stdout.write(picture(await Bun.stdin.text()));
