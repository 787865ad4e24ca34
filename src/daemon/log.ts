import { isatty } from "node:tty";
import { formatJson, formatText, type LogFields, type LogLevel, type LogRecord } from "./log-lines.ts";

export type { LogFields, LogLevel };

/** Where the server says what it does. Fields are for programs, the message is the same text each time. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log that puts these fields on each line. */
  with(fields: LogFields): Log;
}

/** The log that all others come from. */
export interface RootLog extends Log {
  /** Takes effect for it and everything made from it. */
  setLevel(level: LogLevel): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "json" | "text" | "colored text";
  /** Gets each line with its newline; what it throws is the caller's problem, so it does not throw. */
  readonly write: (line: string) => void;
  readonly clock?: () => Date;
}

const RANKS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Whether a log of the level `left` writes less than one of `right`. */
export function isQuieter(left: LogLevel, right: LogLevel): boolean {
  return RANKS[left] > RANKS[right];
}

/**
 * A structured log. Logging never throws and never waits, whatever the fields hold.
 *
 * @example
 * const log = createLog({ level: "info", format: "json", write: (line) => output.write(line) });
 * log.with({ session: id }).warn("a subscriber does not read", { stalled_ms: 12_000 });
 */
export function createLog({ level, format, write, clock = () => new Date() }: LogOptions): RootLog {
  let lowest = RANKS[level];
  const line = (record: LogRecord): string =>
    format === "json" ? formatJson(record) : formatText(record, { colored: format === "colored text" });
  const logWith = (fixed: LogFields): Log => {
    const at =
      (of: LogLevel) =>
      (message: string, fields?: LogFields): void => {
        if (RANKS[of] < lowest) return;
        write(line({ time: clock(), level: of, message, fields: merged(fixed, fields) }));
      };
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      with: (fields) => logWith(merged(fixed, fields)),
    };
  };
  return {
    ...logWith({}),
    setLevel: (next) => {
      lowest = RANKS[next];
    },
  };
}

function merged(fixed: LogFields, fields: LogFields | undefined): LogFields {
  try {
    return { ...fixed, ...fields };
  } catch {
    // A getter or a proxy that does not want to be looked at.
    return { ...fixed, fields: "[unreadable]" };
  }
}

/** What `auto` means for a file descriptor: text on a terminal, in colour unless NO_COLOR is set, else JSON lines. */
export function logFormat(
  wanted: "auto" | "text" | "json",
  { fd, env }: { readonly fd: number; readonly env: Readonly<Record<string, string | undefined>> },
): LogOptions["format"] {
  const terminal = isatty(fd);
  if (wanted === "json" || (wanted === "auto" && !terminal)) return "json";
  return terminal && !env.NO_COLOR && env.TERM !== "dumb" ? "colored text" : "text";
}
