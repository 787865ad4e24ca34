import type { JsonObject } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import { readDuration, readSize } from "../quantity.ts";
import { jsonMistake } from "./json-mistake.ts";
import { notAChoice } from "./suggest.ts";

/** What a shell offers for a value that is not one of a fixed set. */
export type Completes = "file" | "folder" | ListedNoun;

/** A noun whose `list --quiet` gives what can be typed. */
export type ListedNoun = "session" | "container" | "exec" | "agent" | "task";

/** One flag of a command, as data: help, completion and the strict parser all read this. */
export interface Flag<Value> {
  readonly about: string;
  /** One letter. */
  readonly short?: string;
  /** What stands for the value in help, such as `DURATION`. A switch has none and takes no value. */
  readonly placeholder?: string;
  readonly repeats: boolean;
  readonly choices?: readonly string[];
  readonly completes?: Completes;
  /** What holds when the flag is not given, as help shows it. */
  readonly fallback?: string;
  /** The environment variable that is read when the flag is not given. */
  readonly variable?: string;
  /** Makes the value of all the times that the flag was given. Throws a Failure that `problem()` made. */
  readonly read: (given: readonly string[]) => Value;
}

export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** What a command gets: a value for each flag that it declared. */
export type FlagValues<F extends Flags> = { readonly [Name in keyof F]: ReturnType<F[Name]["read"]> };

interface Spec {
  readonly about: string;
  readonly short?: string;
  readonly placeholder?: string;
  readonly completes?: Completes;
  readonly variable?: string;
}

/** A mistake in the words of a command line; ends with exit code 2. `message` begins in lower case, without "Cannot". */
export function problem(message: string): Failure {
  return new Failure("invalid_argument", message, { reason: USAGE });
}

/** The reason that marks the failures that `problem()` makes. */
export const USAGE = "USAGE";

/** A switch: given or not. */
export function toggle(spec: Omit<Spec, "placeholder">): Flag<boolean> {
  return { ...spec, repeats: false, read: (given) => given.at(-1) === "true" };
}

/** Text, and never none: what comes out of an unset variable of a script would mean "whichever" or "all". */
export function text(spec: Spec): Flag<string | undefined> {
  return single({ placeholder: "TEXT", ...spec }, filled);
}

/** Text that means something when it is empty too. */
export function anyText(spec: Spec): Flag<string | undefined> {
  return single({ placeholder: "TEXT", ...spec }, (word) => word);
}

/** Text that has to be given. */
export function requiredText(spec: Spec): Flag<string> {
  return {
    placeholder: "TEXT",
    ...spec,
    about: `${spec.about}; required`,
    repeats: false,
    read: (given) => {
      const word = given.at(-1);
      if (word === undefined) throw problem(`is missing: ${spec.about}`);
      return filled(word);
    },
  };
}

/** A whole number from `min` (0) to `max` (2^31 - 1). */
export function int(spec: Spec & { readonly min?: number; readonly max?: number }): Flag<number | undefined> {
  const { min = 0, max = 2 ** 31 - 1, ...rest } = spec;
  return single({ placeholder: "N", ...rest }, (word) => {
    const value = Number(word);
    if (!/^-?\d+$/.test(word) || value < min || value > max) {
      throw problem(`has to be a whole number from ${min} to ${max}, not "${word}"`);
    }
    return value;
  });
}

/** Cores, such as `0.5`; in billionths of a core. */
export function cores(spec: Spec): Flag<bigint | undefined> {
  return single({ placeholder: "CORES", ...spec }, (word) => {
    const match = /^(\d{1,6})(?:\.(\d{1,9}))?$/.exec(word);
    if (match === null) throw problem(`has to be a number of cores such as 0.5 or 2, not "${word}"`);
    return BigInt(match[1] ?? 0) * 1_000_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
  });
}

/** A duration such as `1h30m`; in milliseconds. */
export function duration(spec: Spec): Flag<number | undefined> {
  return single({ placeholder: "DURATION", ...spec }, (word) => {
    const value = readDuration(word);
    if (value === undefined) throw problem(`has to be a duration such as 90s, 250ms or 1h30m, not "${word}"`);
    return value;
  });
}

/** A size such as `512m`; in bytes. */
export function size(spec: Spec): Flag<bigint | undefined> {
  return single({ placeholder: "SIZE", ...spec }, (word) => {
    const value = readSize(word);
    if (value === undefined) throw problem(`has to be a size such as 512m, 2GiB or 1GB, not "${word}"`);
    return BigInt(value);
  });
}

/** A time: how long ago (`10m`), or RFC 3339 (`2026-01-31T12:00:00Z`). `now` is in milliseconds since 1970. */
export function instant({
  now = Date.now,
  ...spec
}: Spec & { readonly now?: () => number }): Flag<Date | undefined> {
  return single({ placeholder: "TIME", ...spec }, (word) => {
    const ago = readDuration(word);
    if (ago !== undefined) return new Date(now() - ago);
    const at = /^\d{4}-\d\d-\d\d([T ]|$)/.test(word) ? new Date(word) : new Date(Number.NaN);
    if (Number.isNaN(at.getTime())) {
      throw problem(`has to be how long ago (10m) or a time (2026-01-31T12:00:00Z), not "${word}"`);
    }
    return at;
  });
}

/** One of a fixed set of words. */
export function choice<const Choice extends string>(
  spec: Spec & { readonly choices: readonly Choice[] },
): Flag<Choice | undefined> {
  return single({ placeholder: spec.choices.join("|"), ...spec }, (word) => chosen(word, spec.choices));
}

/** Any of a fixed set of words; may be given several times, and with several words between commas. */
export function someOf<const Choice extends string>(
  spec: Spec & { readonly choices: readonly Choice[] },
): Flag<readonly Choice[]> {
  return {
    placeholder: "WORD",
    ...spec,
    repeats: true,
    read: (given) => given.flatMap((words) => words.split(",")).map((word) => chosen(word, spec.choices)),
  };
}

/** Text that may be given several times. */
export function list(spec: Spec): Flag<readonly string[]> {
  return { placeholder: "TEXT", ...spec, repeats: true, read: (given) => given.map(filled) };
}

/** `KEY=VALUE`, any number of times. The value may be empty and may hold further equals signs. */
export function pairs(spec: Spec): Flag<Readonly<Record<string, string>>> {
  return {
    placeholder: "KEY=VALUE",
    ...spec,
    repeats: true,
    read: (given) => {
      const entries = given.map((word): [string, string] => {
        const at = word.indexOf("=");
        if (at < 1) throw problem(`has to be KEY=VALUE, not "${word}"`);
        return [word.slice(0, at), word.slice(at + 1)];
      });
      const twice = entries.find(([key], index) => entries.findIndex(([other]) => other === key) !== index);
      if (twice !== undefined) throw problem(`has the key "${twice[0]}" twice`);
      return Object.fromEntries(entries);
    },
  };
}

/** A JSON object. */
export function json(spec: Spec): Flag<JsonObject | undefined> {
  return single({ placeholder: "JSON", ...spec }, (word) => {
    const mistake = jsonMistake(word);
    if (mistake !== undefined) throw problem(`has to be JSON, but is wrong ${mistake}`);
    const value: unknown = JSON.parse(word);
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw problem("has to be a JSON object");
    }
    return { ...value };
  });
}

/** The same flag with a value, in the words of the command line, for when it is not given. */
export function withDefault<Value>(flag: Flag<Value>, fallback: string): Flag<NonNullable<Value>> {
  return {
    ...flag,
    fallback,
    read: (given) => flag.read(given.length === 0 ? [fallback] : given) as NonNullable<Value>, // a word was given
  };
}

function single<Value>(spec: Spec, parse: (word: string) => Value): Flag<Value | undefined> {
  return {
    ...spec,
    repeats: false,
    read: (given) => {
      const word = given.at(-1);
      return word === undefined ? undefined : parse(word);
    },
  };
}

/** What a flag or a word says that must not be empty. */
export function filled(word: string): string {
  if (word === "") throw problem("is empty");
  return word;
}

function chosen<Choice extends string>(word: string, choices: readonly Choice[]): Choice {
  const wanted = word.toLowerCase().replaceAll("_", "-");
  const found = choices.find((choice) => choice === word || choice === wanted);
  if (found !== undefined) return found;
  throw problem(notAChoice(word, choices));
}
