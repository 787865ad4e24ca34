import { resolve } from "node:path";
import { readDuration, readSize, writeDuration, writeSize } from "../quantity.ts";

/** One thing that can be configured. The table in settings.ts is made of these; all else follows from it. */
export interface Setting<Value = unknown> {
  readonly kind: "text" | "path" | "choice" | "integer" | "number" | "duration" | "size";
  /** One line for docs and `config show`. */
  readonly doc: string;
  /** What is allowed, in words that end a sentence: "must be …". */
  readonly allowed: string;
  /** Where to find it besides `BAAAHT_<NAME>`, which wins over these. */
  readonly environment: readonly string[];
  /** The flag of `serve`, without its dashes. */
  readonly flag: string | undefined;
  /** Whether its flag takes no value, and says `on`. */
  readonly isSwitch: boolean;
  /** Whether SIGHUP puts a new value into force. */
  readonly reloadable: boolean;
  /** Never shown. */
  readonly secret: boolean;
  /** The default in words, where it depends on who starts the server. */
  readonly defaultDoc: string | undefined;
  /** Undefined when this host gives nothing to make a default of. */
  fallback(host: Host): Value | undefined;
  /** `raw` is a string from a flag or the environment, or whatever TOML has. */
  read(raw: unknown, from: Origin): Reading<Value>;
  /** As a person would write it. */
  write(value: Value): string;
}

type Reading<Value> = { readonly value: Value } | { readonly problem: string };

/** What defaults and relative paths depend on. */
export interface Host {
  readonly uid: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The folder that a relative path is meant from, and the home that `~/` stands for. */
interface Origin {
  readonly folder: string;
  readonly home: string | undefined;
}

interface Common {
  readonly environment?: readonly string[];
  readonly flag?: string;
  /** For what is `on` or `off`, and off unless somebody wants it. */
  readonly isSwitch?: true;
  readonly reloadable?: true;
  readonly secret?: true;
}

interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

type Fallback = string | { readonly doc: string; readonly of: (host: Host) => string | undefined };

export interface TextOptions extends Common {
  readonly default: Fallback;
  /** What is wrong with a value, as the end of a sentence: "must …". */
  readonly check?: (value: string) => string | undefined;
}

export function text(doc: string, { default: fallback, check, ...common }: TextOptions): Setting<string> {
  return {
    ...described("text", doc, common),
    allowed: "must be a text",
    ...fallbackOf(fallback),
    read(raw) {
      if (typeof raw !== "string") return { problem: "must be a text in quotes" };
      const problem = check?.(raw);
      return problem === undefined ? { value: raw } : { problem };
    },
    write: (value) => value,
  };
}

/** A file or folder; relative ones are meant from the current folder, or from the configuration file's. */
export function path(doc: string, { default: fallback, check, ...common }: TextOptions): Setting<string> {
  return {
    ...described("path", doc, common),
    allowed: "must be a path",
    ...fallbackOf(fallback),
    read(raw, from) {
      if (typeof raw !== "string" || raw === "") return { problem: "must be a path" };
      if (raw.includes("\0")) return { problem: "must be a path, without a zero byte" };
      if (/^[a-z][a-z0-9+.-]*:/i.test(raw))
        return { problem: "must be a path, without a scheme such as unix:" };
      const value = absolute(raw, from);
      if (value === undefined) return { problem: "must not begin with ~ where HOME is not set" };
      const problem = check?.(value);
      return problem === undefined ? { value } : { problem };
    },
    write: (value) => value,
  };
}

export function choice<const Value extends string>(
  doc: string,
  options: Common & { readonly default: NoInfer<Value>; readonly of: readonly Value[] },
): Setting<Value> {
  const { default: fallback, of: values, ...common } = options;
  const allowed = `must be one of ${values.join(", ")}`;
  return {
    ...described("choice", doc, common),
    allowed,
    defaultDoc: undefined,
    fallback: () => fallback,
    read(raw) {
      const value = values.find((one) => one === raw);
      return value === undefined ? { problem: allowed } : { value };
    },
    write: (value) => value,
  };
}

type NumberOptions = Common &
  Bounds & {
    readonly default: number;
    /** What 0 means, where it is allowed although it is below `min`. */
    readonly zero?: string;
  };

export function integer(doc: string, options: NumberOptions): Setting<number> {
  return quantity(doc, options, {
    kind: "integer",
    read: (raw) =>
      typeof raw === "string" && /^[+-]?\d[\d_]*$/.test(raw) ? Number(raw.replaceAll("_", "")) : raw,
    isValid: Number.isSafeInteger,
    write: String,
    noun: "a whole number",
  });
}

export function number(doc: string, options: NumberOptions): Setting<number> {
  return quantity(doc, options, {
    kind: "number",
    read: (raw) => (typeof raw === "string" && /^[+-]?\d+(\.\d+)?$/.test(raw) ? Number(raw) : raw),
    isValid: Number.isFinite,
    write: String,
    noun: "a number",
  });
}

type QuantityOptions = Common & {
  readonly default: string;
  readonly min?: string;
  readonly max?: string;
  /** What 0 means, where it is allowed although it is below `min`. */
  readonly zero?: string;
};

/** Kept in milliseconds; written `250ms`, `30s`, `1h30m`, `7d`. */
export function duration(doc: string, options: QuantityOptions): Setting<number> {
  return quantity(doc, inNumbers(options, readDuration), {
    kind: "duration",
    read: (raw) => (typeof raw === "string" ? readDuration(raw) : raw === 0 ? 0 : undefined),
    isValid: Number.isSafeInteger,
    write: writeDuration,
    noun: "a duration with its unit, such as 250ms, 30s or 1h30m",
  });
}

/** Kept in bytes; written `100MiB`, `1GB`, or a plain number of bytes. */
export function size(doc: string, options: QuantityOptions): Setting<number> {
  return quantity(doc, inNumbers(options, readSize), {
    kind: "size",
    read: (raw) => (typeof raw === "string" ? readSize(raw) : raw),
    isValid: Number.isSafeInteger,
    write: writeSize,
    noun: "a size in bytes, such as 65536, 100MiB or 1GB",
  });
}

interface Notation {
  readonly kind: Setting["kind"];
  /** The number that is meant, or anything else when it is none. */
  read(raw: unknown): unknown;
  isValid(value: unknown): boolean;
  write(value: number): string;
  readonly noun: string;
}

function quantity(doc: string, options: NumberOptions, notation: Notation): Setting<number> {
  const { default: fallback, min = 0, max = Number.MAX_SAFE_INTEGER, zero, ...common } = options;
  const allowed = `must be ${notation.noun}, ${range(notation, { min, max, zero })}`;
  const write = (value: number): string => (value === 0 ? "0" : notation.write(value));
  return {
    ...described(notation.kind, doc, common),
    allowed,
    defaultDoc: zero !== undefined && fallback === 0 ? `0 (${zero})` : undefined,
    fallback: () => fallback,
    read(raw) {
      const value = notation.read(raw);
      if (typeof value !== "number" || !notation.isValid(value)) return { problem: allowed };
      if (value === 0 && zero !== undefined) return { value };
      return value < min || value > max ? { problem: allowed } : { value };
    },
    write,
  };
}

function range(
  { write }: Notation,
  { min, max, zero }: { readonly min: number; readonly max: number; readonly zero: string | undefined },
): string {
  const none = zero === undefined ? "" : `, or 0 (${zero})`;
  return max === Number.MAX_SAFE_INTEGER
    ? `at least ${write(min)}${none}`
    : `from ${write(min)} to ${write(max)}${none}`;
}

function inNumbers(
  { default: fallback, min, max, ...rest }: QuantityOptions,
  read: (text: string) => number | undefined,
): NumberOptions {
  const must = (value: string): number => {
    const number = read(value);
    if (number === undefined) throw new Error(`Cannot read the table of settings: "${value}" is no quantity`);
    return number;
  };
  return {
    ...rest,
    default: must(fallback),
    ...(min === undefined ? {} : { min: must(min) }),
    ...(max === undefined ? {} : { max: must(max) }),
  };
}

function described(
  kind: Setting["kind"],
  doc: string,
  { environment, flag, isSwitch, reloadable, secret }: Common,
) {
  return {
    kind,
    doc,
    environment: environment ?? [],
    flag,
    isSwitch: isSwitch ?? false,
    reloadable: reloadable ?? false,
    secret: secret ?? false,
  } as const;
}

function fallbackOf(fallback: Fallback): Pick<Setting<string>, "defaultDoc" | "fallback"> {
  return typeof fallback === "string"
    ? { defaultDoc: undefined, fallback: () => fallback }
    : { defaultDoc: fallback.doc, fallback: fallback.of };
}

function absolute(raw: string, { folder, home }: Origin): string | undefined {
  if (raw !== "~" && !raw.startsWith("~/")) return resolve(folder, raw);
  return home === undefined ? undefined : resolve(home, raw.slice(2));
}
