// A bigint is kept as the string "~n<digits>"; a string that begins with "~" gets one more in front.
const marked = '"~';

/** A row as JSON text that keeps bigints exactly. Rows are plain data: no dates, no functions, no binary. */
export function encodeRow(row: unknown, bigints: "none" | "some" = "some"): string {
  if (bigints === "none") {
    // A replacer makes it several times slower, and most rows have nothing to mark.
    const text = JSON.stringify(row);
    if (!text.includes(marked)) return text;
  }
  return JSON.stringify(row, (_key, value: unknown) => {
    if (typeof value === "bigint") return `~n${value}`;
    if (typeof value === "string" && value.startsWith("~")) return `~${value}`;
    return value;
  });
}

/** What `encodeRow` was given. */
export function decodeRow(text: string): unknown {
  if (!text.includes(marked)) return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith("~")) return value;
    return value.startsWith("~n") ? BigInt(value.slice(2)) : value.slice(1);
  });
}
