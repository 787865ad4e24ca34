/** A source file taken apart for checks: its code without comments and the insides of texts, line by line. */
export interface SourceText {
  readonly code: readonly string[];
  /** Whether a line has a comment, or a part of one. */
  readonly commented: readonly boolean[];
}

/** Takes TypeScript apart. It knows comments, texts, templates and regular expressions, which is all that checks need. */
export function sourceText(source: string): SourceText {
  const scan = { source, at: 0, code: "", comments: new Set<number>(), line: 0 };
  while (scan.at < source.length) step(scan);
  const code = scan.code.split("\n");
  return { code, commented: code.map((_, line) => scan.comments.has(line)) };
}

interface Scan {
  readonly source: string;
  at: number;
  code: string;
  line: number;
  readonly comments: Set<number>;
}

function step(scan: Scan): void {
  const { source, at } = scan;
  const two = source.slice(at, at + 2);
  const char = source[at] ?? "";
  if (two === "//") comment(scan, /\n|$/g);
  else if (two === "/*") comment(scan, /\*\//g);
  else if (char === '"' || char === "'") text(scan, char);
  else if (char === "`") template(scan);
  else if (char === "/" && beginsExpression(scan.code)) expression(scan);
  else keep(scan, 1);
}

function keep(scan: Scan, length: number): void {
  const part = scan.source.slice(scan.at, scan.at + length);
  scan.code += part;
  scan.line += part.split("\n").length - 1;
  scan.at += length;
}

/** Passes over a part that is not code; lines stay lines. */
function pass(scan: Scan, end: number): void {
  const part = scan.source.slice(scan.at, end);
  scan.code += part.replace(/[^\n]/g, "");
  scan.line += part.split("\n").length - 1;
  scan.at = end;
}

function comment(scan: Scan, end: RegExp): void {
  end.lastIndex = scan.at + 2;
  const found = end.exec(scan.source);
  const first = scan.line;
  pass(scan, found === null ? scan.source.length : found.index + (found[0] === "*/" ? 2 : 0));
  for (let line = first; line <= scan.line; line += 1) scan.comments.add(line);
}

function text(scan: Scan, quote: string): void {
  keep(scan, 1);
  let end = scan.at;
  while (end < scan.source.length && scan.source[end] !== quote) end += scan.source[end] === "\\" ? 2 : 1;
  pass(scan, end);
  keep(scan, 1);
}

function template(scan: Scan): void {
  keep(scan, 1);
  while (scan.at < scan.source.length && scan.source[scan.at] !== "`") {
    if (scan.source.startsWith("${", scan.at)) inserted(scan);
    else pass(scan, scan.at + (scan.source[scan.at] === "\\" ? 2 : 1));
  }
  keep(scan, 1);
}

/** The code between the braces of a template. */
function inserted(scan: Scan): void {
  keep(scan, 2);
  let depth = 1;
  while (scan.at < scan.source.length) {
    const char = scan.source[scan.at];
    if (char === "{") depth += 1;
    if (char === "}") depth -= 1;
    if (depth === 0) break;
    step(scan);
  }
  keep(scan, 1);
}

function expression(scan: Scan): void {
  let end = scan.at + 1;
  let inClass = false;
  for (; end < scan.source.length; end += 1) {
    const char = scan.source[end];
    if (char === "\\") end += 1;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "/" && !inClass) break;
  }
  pass(scan, end + 1);
}

/** Whether a slash after this code begins a regular expression: after a value it divides. */
function beginsExpression(code: string): boolean {
  const before = code.trimEnd();
  return (
    before === "" || /[([{},;:=!&|?+\-*%<>~^]$/.test(before) || /\b(?:return|case|of|in|typeof)$/.test(before)
  );
}
