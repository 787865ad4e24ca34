import { type Command, flagTitle, type Group, type Word, wordTitle } from "./command.ts";
import type { Flag } from "./flag.ts";
import { isCommonFlag } from "./global-flags.ts";

/** The help of a noun: what it is, its commands. `path` is how it was called, without the program's name. */
export function groupHelp(group: Group, path: readonly string[]): string {
  const name = ["baaaht", ...path].join(" ");
  const rows = group.entries.map((entry) => [entry.name, entry.summary] as const);
  return sections([
    group.description ?? `${sentence(group.summary)}`,
    `Usage:\n  ${name} COMMAND [flags]`,
    `Commands:\n${columns(rows)}`,
    `Run "${name} COMMAND --help" for its flags and examples.`,
  ]);
}

/** The help of a command. */
export function commandHelp(command: Command, path: readonly string[]): string {
  const flags = Object.entries(command.flags);
  const own = flags.filter((named) => !isCommonFlag(named));
  const common = flags.filter(isCommonFlag);
  const words = Object.entries(command.words);
  return sections([
    `${sentence(command.summary)}${command.description === undefined ? "" : `\n\n${command.description}`}`,
    `Usage:\n  ${usageLine(command, path)}`,
    examples(command),
    words.length === 0
      ? ""
      : `Words:\n${columns(words.map(([name, word]) => [wordTitle(name), wordAbout(word)]))}`,
    own.length === 0 ? "" : `Flags:\n${columns(own.map(flagRow))}`,
    `Common flags:\n${columns([...common.map(flagRow), ["-h, --help", "say this"]])}`,
  ]);
}

/** `baaaht session get SESSION [flags]` */
export function usageLine(command: Command, path: readonly string[]): string {
  const words = Object.entries(command.words).map(([name, word]) => wordUsage(wordTitle(name), word));
  const isCommandLine = Object.values(command.words).some(({ takes }) => takes === "command");
  const flags = Object.keys(command.flags).length === 0 ? [] : ["[flags]"];
  return ["baaaht", ...path, ...(isCommandLine ? [...flags, ...words] : [...words, ...flags])].join(" ");
}

/** `-o, --output FORMAT`, and what it is. */
function flagRow([name, flag]: readonly [string, Flag<unknown>]): readonly [string, string] {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.placeholder === undefined ? "" : ` ${flag.placeholder}`;
  return [`${short}${flagTitle(name)}${value}`, flagAbout(flag)];
}

export function flagAbout(flag: Flag<unknown>): string {
  const { about, choices, placeholder, repeats, fallback, variable } = flag;
  const isListed = choices === undefined || placeholder === choices.join("|");
  const notes = [
    ...(isListed ? [] : [`one of ${choices.join(", ")}`]),
    ...(repeats ? ["may be repeated"] : []),
    ...(fallback === undefined || fallback === "" ? [] : [`default ${fallback}`]),
    ...(variable === undefined ? [] : [`or ${variable}`]),
  ];
  return notes.length === 0 ? about : `${about} (${notes.join("; ")})`;
}

function wordAbout({ about, choices }: Word<unknown>): string {
  return choices === undefined ? about : `${about}: ${choices.join(", ")}`;
}

function wordUsage(title: string, { optional, takes }: Word<unknown>): string {
  const shown = takes === "one" ? title : `${title}...`;
  return optional ? `[${shown}]` : shown;
}

function examples({ examples: all }: Command): string {
  const lines = all.map(({ about, line }) => `  # ${about}\n  ${line}`);
  return lines.length === 0 ? "" : `Examples:\n${lines.join("\n")}`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(MAX_LEFT, Math.max(...rows.map(([left]) => left.length)));
  return rows
    .map(([left, right]) =>
      left.length > width
        ? `  ${left}\n${" ".repeat(width + 4)}${right}`
        : `  ${left.padEnd(width)}  ${right}`,
    )
    .join("\n");
}

function sections(parts: readonly string[]): string {
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function sentence(summary: string): string {
  return `${summary.slice(0, 1).toUpperCase()}${summary.slice(1)}.`;
}

/** Longer ones have their explanation on the next line. */
const MAX_LEFT = 34;
