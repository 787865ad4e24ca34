import { type CommandDef, defineCommand, runCommand } from "citty";
import { type Command, type Entry, flagTitle, type Group } from "./command.ts";
import { EXIT_CODES, exitCodeOf } from "./exit-codes.ts";
import { tellFailure } from "./failure-output.ts";
import { problem } from "./flag.ts";
import { commonFlags } from "./global-flags.ts";
import { commandHelp, groupHelp } from "./help.ts";
import { parse } from "./parse.ts";
import { root } from "./root.ts";
import type { Shell } from "./shell.ts";
import { commandSuggestion } from "./suggest.ts";

/**
 * Does what the words of a command line say, and gives the process's exit code. Never throws: what goes wrong is told on
 * stderr.
 *
 * citty finds the command and loads its file; what stands behind the command's name is read by `parse()`, because citty
 * lets unknown flags, extra words and missing values pass.
 */
export async function runCli(args: readonly string[], shell: Shell): Promise<number> {
  const line = new CommandLine(args, shell);
  try {
    await line.run();
    return line.exitCode;
  } catch (error) {
    await tellFailure(error, { args, path: line.path }, shell);
    return line.failureCode(error);
  }
}

class CommandLine {
  exitCode: number = EXIT_CODES.ok;
  /** The command's name as far as it is known. */
  path: readonly string[] = [];
  failureCode: (error: unknown) => number = exitCodeOf;
  readonly #split: Split;
  readonly #shell: Shell;

  constructor(args: readonly string[], shell: Shell) {
    this.#split = splitArguments(args[0] === "--version" ? ["version", ...args.slice(1)] : args);
    this.#shell = shell;
  }

  async run(): Promise<void> {
    await runCommand(this.#group(root, []), { rawArgs: [...this.#split.names, ...this.#split.rest] });
  }

  /** A noun as citty has it. */
  #group(group: Group, path: readonly string[]): CommandDef {
    const given = this.#split.names[path.length];
    // citty would look for a name among flags that are not known, and miss them.
    if (given === undefined)
      return defineCommand({ run: ({ rawArgs }) => this.#runGroup(group, { path, args: rawArgs }) });
    const entry = group.entries.find(({ name }) => name === given);
    if (entry === undefined) throw unknownCommand(group, { path, given });
    return defineCommand({ subCommands: { [given]: () => this.#entry(entry, [...path, given]) } });
  }

  async #entry(entry: Entry, path: readonly string[]): Promise<CommandDef> {
    this.path = path;
    const loaded = await entry.load(this.#shell.server);
    if (loaded.kind === "group") return this.#group(loaded, path);
    this.failureCode = loaded.failureCode ?? exitCodeOf;
    // citty hands over everything behind the name; what stood before it comes first again.
    return defineCommand({
      run: ({ rawArgs }) => this.#runCommand(loaded, { path, args: [...this.#split.leading, ...rawArgs] }),
    });
  }

  async #runCommand(command: Command, { path, args }: Called): Promise<void> {
    const parsed = parse(command, args, this.#shell.env);
    if (parsed.help) return await this.#shell.out.write(commandHelp(command, path));
    this.exitCode = await command.run(parsed, this.#shell);
  }

  async #runGroup(group: Group, { path, args }: Called): Promise<void> {
    const all = [...this.#split.leading, ...args];
    const asksForHelp = all.some((arg) => arg === "--help" || arg === "-h");
    const wrong = all.find((arg) => arg.startsWith("-"));
    if (asksForHelp || (path.length === 0 && all.length === 0)) {
      return await this.#shell.out.write(groupHelp(group, path));
    }
    const names = group.entries.map(({ name }) => name).join(", ");
    if (wrong !== undefined) throw problem(`unknown flag ${wrong}; a command comes first: ${names}`);
    throw problem(`a command is missing behind "${["baaaht", ...path].join(" ")}": ${names}`);
  }
}

interface Called {
  readonly path: readonly string[];
  readonly args: readonly string[];
}

interface Split {
  /** Common flags that stood before the command's name or within it. */
  readonly leading: readonly string[];
  /** The words up to the first flag that belongs to the command. */
  readonly names: readonly string[];
  readonly rest: readonly string[];
}

/** Common flags may stand anywhere; the command's own come behind its name. */
function splitArguments(args: readonly string[]): Split {
  const leading: string[] = [];
  const names: string[] = [];
  let at = 0;
  while (at < args.length && names.length < nameLength(names[0])) {
    const arg = args[at] ?? "";
    if (!arg.startsWith("-")) {
      names.push(arg);
      at += 1;
      continue;
    }
    const length = commonFlagLength(arg);
    if (length === 0) break;
    leading.push(...args.slice(at, at + length));
    at += length;
  }
  return { leading, names, rest: args.slice(at) };
}

/** How many words a common flag takes together with its value; 0 when it is none. */
function commonFlagLength(arg: string): number {
  const title = arg.split("=", 1)[0] ?? "";
  for (const [name, flag] of Object.entries(commonFlags)) {
    if (title === flagTitle(name)) return flag.placeholder === undefined || arg.includes("=") ? 1 : 2;
    if (flag.short === undefined || !arg.startsWith(`-${flag.short}`)) continue;
    return arg.length > 2 || flag.placeholder === undefined ? 1 : 2;
  }
  return 0;
}

/** How many words a command's name has at most: a verb behind its nouns. */
function nameLength(first: string | undefined): number {
  const entry = root.entries.find(({ name }) => name === first);
  return 1 + (entry?.nouns ?? 1);
}

function unknownCommand(
  group: Group,
  { path, given }: { readonly path: readonly string[]; readonly given: string },
) {
  const names = group.entries.map(({ name }) => name);
  const close = commandSuggestion(given, names);
  const hint = close === undefined ? `one of ${names.join(", ")}` : `did you mean "${close}"?`;
  return problem(`unknown command "${["baaaht", ...path, given].join(" ")}"; ${hint}`);
}
