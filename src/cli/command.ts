import { Failure } from "../failure.ts";
import { type Flags, type FlagValues, filled, type ListedNoun, problem, USAGE } from "./flag.ts";
import { commonFlags } from "./global-flags.ts";
import type { Server, Shell } from "./shell.ts";

/** A word of a command that is not a flag. They are filled in the order in which they are declared. */
export interface Word<Value> {
  readonly about: string;
  readonly optional: boolean;
  /**
   * `one`; `many`: all that follow, flags may stand between them; `command`: all that follow is somebody else's command
   * line, from its first word or from `--` on.
   */
  readonly takes: "one" | "many" | "command";
  readonly choices?: readonly string[];
  readonly completes?: ListedNoun;
  readonly read: (given: readonly string[]) => Value;
}

export type Words = Readonly<Record<string, Word<unknown>>>;

type WordValues<W extends Words> = { readonly [Name in keyof W]: ReturnType<W[Name]["read"]> };

interface Example {
  /** What it does, without a full stop. */
  readonly about: string;
  readonly line: string;
}

/** A command as data. Parser, help, completion and documentation are made from it. */
export interface Declaration<F extends Flags, W extends Words> {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  readonly description?: string;
  readonly words: W;
  readonly flags: F;
  readonly examples: readonly Example[];
  /** The exit code for what it throws, where that is not the one of the frozen table. */
  readonly failureCode?: (error: unknown) => number;
  /** Does it, and gives the exit code. */
  readonly run: (input: Input<F, W>) => Promise<number>;
}

export interface Input<F extends Flags, W extends Words> {
  readonly flags: FlagValues<F>;
  readonly words: WordValues<W>;
  /** The names of the flags that were given. */
  readonly given: ReadonlySet<string>;
  readonly shell: Shell;
}

/** What the strict parser found: the words as they were typed, by flag or word. */
export interface Given {
  readonly flags: ReadonlyMap<string, readonly string[]>;
  readonly words: ReadonlyMap<string, readonly string[]>;
}

/** A declared command of which only the command itself knows the types of its flags and words. */
export interface Command extends Omit<Declaration<Flags, Words>, "run"> {
  readonly kind: "command";
  readonly run: (given: Given, shell: Shell) => Promise<number>;
}

/** A noun: commands under one name. */
export interface Group {
  readonly kind: "group";
  readonly name: string;
  readonly summary: string;
  readonly description?: string;
  readonly entries: readonly Entry[];
}

/** A command or noun whose file is loaded when it is needed, so that every other command starts sooner. */
export interface Entry {
  readonly name: string;
  readonly summary: string;
  /** How many nouns stand before its verbs; absent: one. */
  readonly nouns?: 2;
  readonly load: (server: Server) => Promise<Command | Group>;
}

export function command<F extends Flags, W extends Words>(declaration: Declaration<F, W>): Command {
  const { run, flags, words } = declaration;
  return {
    ...declaration,
    kind: "command",
    run: (given, shell) => {
      valuesOf(flagsOf({ flags }), given.flags, flagTitle); // also of those that it has no use for, for their mistakes
      return run({
        flags: valuesOf(flags, given.flags, flagTitle) as FlagValues<F>, // one value for each key of `flags`, by its own read
        words: valuesOf(words, given.words, wordTitle) as WordValues<W>, // the same for `words`
        given: new Set(given.flags.keys()),
        shell,
      });
    },
  };
}

/** What may be given to a command: its own flags, and the common ones, to which it need not pay heed. */
export function flagsOf({ flags }: { readonly flags: Flags }): Flags {
  return withoutLetters(commonFlags, flags);
}

/** Both, where a letter that both have is `own`'s: people know `-v` of `run` from elsewhere. */
export function withoutLetters<Common extends Flags, Own extends Flags>(
  common: Common,
  own: Own,
): Common & Own {
  const taken = new Set(Object.values(own).flatMap(({ short }) => short ?? []));
  const rest = Object.entries(common).map(([name, flag]) => {
    const { short, ...long } = flag;
    return [name, short !== undefined && taken.has(short) ? long : flag] as const;
  });
  return { ...Object.fromEntries(rest), ...own } as Common & Own; // the same flags, some without their letters
}

/** A noun whose commands are there already. */
export function group(
  declared: Omit<Group, "kind" | "entries"> & { readonly commands: readonly Command[] },
): Group {
  const { commands, ...rest } = declared;
  return {
    ...rest,
    kind: "group",
    entries: commands.map((one) => ({
      name: one.name,
      summary: one.summary,
      load: () => Promise.resolve(one),
    })),
  };
}

interface WordSpec {
  readonly about: string;
  readonly completes?: ListedNoun;
  readonly choices?: readonly string[];
}

/** A word that has to be there. */
export function word(spec: WordSpec): Word<string> {
  return { ...spec, optional: false, takes: "one", read: (given) => filled(given[0] ?? "") };
}

export function optionalWord(spec: WordSpec): Word<string | undefined> {
  return { ...spec, optional: true, takes: "one", read: (given) => given[0] };
}

export function manyWords(spec: WordSpec & { readonly optional: boolean }): Word<readonly string[]> {
  // What names a thing must not be empty; what is text may.
  const check = spec.completes === undefined ? (one: string) => one : filled;
  return { ...spec, takes: "many", read: (given) => given.map(check) };
}

/** Somebody else's command line; comes last. */
export function commandWords(spec: WordSpec & { readonly optional: boolean }): Word<readonly string[]> {
  return { ...spec, takes: "command", read: (given) => given };
}

/** `maxContainers` as it is typed: `--max-containers`. */
export function flagTitle(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `sessionId` as help shows it: `SESSION_ID`. */
export function wordTitle(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function valuesOf(
  declared: Readonly<Record<string, { readonly read: (given: readonly string[]) => unknown }>>,
  given: ReadonlyMap<string, readonly string[]>,
  title: (name: string) => string,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(declared).map(([name, { read }]) => {
      try {
        return [name, read(given.get(name) ?? [])];
      } catch (error) {
        const failure = Failure.from(error);
        if (failure?.details.reason !== USAGE) throw error;
        throw problem(`${title(name)} ${failure.message}`);
      }
    }),
  );
}
