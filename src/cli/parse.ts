import { type Command, flagsOf, flagTitle, type Given, type Word, wordTitle } from "./command.ts";
import { type Flag, problem } from "./flag.ts";
import { notAChoice, suggestion } from "./suggest.ts";

/** The words of one command, or that its help was asked for. */
export type Parsed = { readonly help: true } | ({ readonly help: false } & Given);

/**
 * Reads what stands behind a command's name. Unknown flags, words too many or too few, values that are missing and flags
 * that were given twice are failures that say what to type instead. `--help` wins over all of them.
 */
export function parse(command: Command, args: readonly string[], env: Shell["env"]): Parsed {
  const reader = new ArgumentReader(command, args);
  try {
    reader.readAll();
  } catch (error) {
    if (reader.asksForHelp || restAsksForHelp(args)) return { help: true };
    throw error;
  }
  if (reader.asksForHelp) return { help: true };
  takeVariables(command, reader.flags, env);
  return { help: false, flags: reader.flags, words: placed(command, reader) };
}

interface Shell {
  readonly env: Readonly<Record<string, string | undefined>>;
}

class ArgumentReader {
  readonly flags = new Map<string, string[]>();
  readonly words: string[] = [];
  asksForHelp = false;
  readonly #command: Command;
  readonly #args: readonly string[];
  #at = 0;

  constructor(command: Command, args: readonly string[]) {
    this.#command = command;
    this.#args = args;
  }

  readAll(): void {
    for (;;) {
      const arg = this.#args[this.#at];
      if (arg === undefined || this.asksForHelp) return;
      this.#at += 1;
      if (arg === "--") this.#takeRest();
      else if (arg.startsWith("--")) this.#takeLong(arg);
      else if (arg.startsWith("-") && arg !== "-") this.#takeShort(arg);
      else if (this.#isCommandLine()) {
        this.#at -= 1;
        this.#takeRest();
      } else this.words.push(arg);
    }
  }

  /** Whether the next word begins somebody else's command line. */
  #isCommandLine(): boolean {
    return Object.values(this.#command.words)[this.words.length]?.takes === "command";
  }

  #takeRest(): void {
    this.words.push(...this.#args.slice(this.#at));
    this.#at = this.#args.length;
  }

  #takeLong(arg: string): void {
    const equals = arg.indexOf("=");
    const title = equals < 0 ? arg : arg.slice(0, equals);
    if (title === "--help") {
      this.asksForHelp = true;
      return;
    }
    const found = Object.entries(flagsOf(this.#command)).find(([name]) => flagTitle(name) === title);
    if (found === undefined) throw this.#unknown(title);
    this.#take(found, { title, value: equals < 0 ? undefined : arg.slice(equals + 1) });
  }

  /** `-o json`, `-ojson`, `-it`. */
  #takeShort(arg: string): void {
    for (let at = 1; at < arg.length; at += 1) {
      const title = `-${arg[at]}`;
      if (title === "-h") {
        this.asksForHelp = true;
        return;
      }
      const found = Object.entries(flagsOf(this.#command)).find(([, { short }]) => short === arg[at]);
      if (found === undefined) throw this.#unknown(title);
      if (found[1].placeholder === undefined) {
        this.#take(found, { title, value: undefined });
        continue;
      }
      const attached = arg.slice(at + 1).replace(/^=/, "");
      this.#take(found, { title, value: attached === "" ? undefined : attached });
      return;
    }
  }

  #take(
    [name, flag]: [string, Flag<unknown>],
    { title, value }: { title: string; value: string | undefined },
  ): void {
    const taken =
      flag.placeholder === undefined ? switchValue(title, value) : (value ?? this.#nextValue(title, flag));
    const before = this.flags.get(name);
    if (before !== undefined && !flag.repeats) throw problem(`flag ${title} was given twice`);
    this.flags.set(name, [...(before ?? []), taken]);
  }

  #nextValue(title: string, flag: Flag<unknown>): string {
    const next = this.#args[this.#at];
    if (next === undefined) throw problem(`flag ${title} needs a value: ${title} ${flag.placeholder}`);
    if (/^-./.test(next) && !/^-\d/.test(next)) {
      throw problem(
        `flag ${title} needs a value: ${title} ${flag.placeholder}; if it is "${next}", write ${title}=${next}`,
      );
    }
    this.#at += 1;
    return next;
  }

  #unknown(title: string) {
    const known = [...Object.keys(flagsOf(this.#command)).map(flagTitle), "--help"];
    const close = title.startsWith("--") ? suggestion(title, known) : undefined;
    return problem(`unknown flag ${title}${close === undefined ? "" : `; did you mean ${close}?`}`);
  }
}

function switchValue(title: string, value: string | undefined): string {
  if (value === undefined || value === "true") return "true";
  if (value === "false") return "false";
  throw problem(`flag ${title} takes no value`);
}

/** Help was asked for behind the mistake, and not in somebody else's command line. */
function restAsksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return (end < 0 ? args : args.slice(0, end)).some((arg) => arg === "--help" || arg === "-h");
}

function takeVariables(command: Command, flags: Map<string, string[]>, env: Shell["env"]): void {
  for (const [name, { variable }] of Object.entries(command.flags)) {
    const value = variable === undefined ? undefined : env[variable];
    if (value !== undefined && value !== "" && !flags.has(name)) flags.set(name, [value]);
  }
}

/** Gives each declared word what belongs to it. */
function placed(command: Command, { words }: { readonly words: readonly string[] }): Given["words"] {
  const result = new Map<string, readonly string[]>();
  let at = 0;
  for (const [name, declared] of Object.entries(command.words)) {
    const taken = declared.takes === "one" ? words.slice(at, at + 1) : words.slice(at);
    at += taken.length;
    if (taken.length === 0 && !declared.optional) throw problem(missing(name, declared));
    const wrong = taken.find((one) => declared.choices !== undefined && !declared.choices.includes(one));
    if (wrong !== undefined) throw problem(`${wordTitle(name)} ${notAChoice(wrong, declared.choices ?? [])}`);
    result.set(name, taken);
  }
  const extra = words[at];
  if (extra !== undefined) throw problem(tooMany(command, extra));
  return result;
}

function missing(name: string, declared: Word<unknown>): string {
  return `${wordTitle(name)} is missing: ${declared.about}`;
}

function tooMany(command: Command, extra: string): string {
  const takes = Object.keys(command.words).map(wordTitle).join(" ");
  return `unexpected word "${extra}"; ${takes === "" ? "it takes no words" : `it takes only ${takes}`}`;
}
