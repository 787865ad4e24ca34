import { errorText, isError, plainValue } from "./log-value.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

export type LogFields = Readonly<Record<string, unknown>>;

/** One line before it is written. */
export interface LogRecord {
  readonly time: Date;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** One line of JSON: `time` (ISO 8601, UTC), `level`, `message`, then the fields. An error is one text with its stack. */
export function formatJson({ time, level, message, fields }: LogRecord): string {
  const line: Record<string, unknown> = Object.create(null);
  line.time = isoTime(time);
  line.level = level;
  line.message = String(message);
  for (const [name, value] of Object.entries(fields)) {
    // A field may not pass itself off as the line's own.
    const free = name === "time" || name === "level" || name === "message" ? `${name}_` : name;
    const plain = plainValue(value);
    if (plain !== undefined) line[free] = plain;
  }
  return `${JSON.stringify(line)}\n`;
}

/** For people: local time, level, message, `key=value`, and under it the stacks of errors. */
export function formatText(
  { time, level, message, fields }: LogRecord,
  { colored }: { readonly colored: boolean },
): string {
  const paint = (code: number, text: string): string => (colored ? `\u001b[${code}m${text}\u001b[0m` : text);
  const pairs: string[] = [];
  const stacks: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (isError(value)) {
      const [first = "", ...rest] = errorText(value).split("\n");
      pairs.push(`${paint(DIM, `${visible(name)}=`)}${word(first)}`);
      stacks.push(...rest.map((line) => `    ${visible(line.trim())}\n`));
      continue;
    }
    const plain = plainValue(value);
    if (plain === undefined) continue;
    const text = typeof plain === "string" ? word(plain) : visible(JSON.stringify(plain));
    pairs.push(`${paint(DIM, `${visible(name)}=`)}${text}`);
  }
  const head = [
    paint(DIM, localTime(time)),
    paint(COLORS[level], level.toUpperCase().padEnd(5)),
    visible(message),
  ];
  return `${[...head, ...pairs].join(" ")}\n${stacks.join("")}`;
}

const DIM = 2;
const COLORS: Readonly<Record<LogLevel, number>> = { debug: 36, info: 32, warn: 33, error: 31 };

function word(text: string): string {
  return /^[\p{L}\p{N}\p{P}\p{S}]+$/u.test(text) && !/["=]/.test(text) ? text : visible(JSON.stringify(text));
}

/**
 * Control characters would let a client's text move the cursor, or write lines that look like ours; those that turn
 * the direction of writing would let it look like something else.
 */
function visible(text: string): string {
  return String(text)
    .toWellFormed()
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu, (char) => {
      return `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
    });
}

function isoTime(time: Date): string {
  return Number.isNaN(time.getTime()) ? "unknown" : time.toISOString();
}

function localTime(time: Date): string {
  const two = (part: number): string => String(part).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
  return `${day} ${clock}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
