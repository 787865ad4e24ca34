import { join } from "node:path";
import { type Command, flagTitle, type Group, wordTitle } from "../src/cli/command.ts";
import {
  COMMAND_EXIT_CODES,
  EXIT_CODES,
  HEALTH_EXIT_CODES,
  SIGNAL_EXIT_CODES,
} from "../src/cli/exit-codes.ts";
import type { Flag } from "../src/cli/flag.ts";
import { commonFlags, isCommonFlag } from "../src/cli/global-flags.ts";
import { flagAbout, usageLine } from "../src/cli/help.ts";
import { root } from "../src/cli/root.ts";
import { daemonForCli } from "../src/daemon-for-cli.ts";

const PAGE = join(import.meta.dir, "../docs/cli.md");

/** The page with its reference and its table of exit codes made again from the commands' declarations. */
export async function withReference(page: string): Promise<string> {
  const commands = await commandsOf(root, []);
  const reference = [commonSection(), ...commands.map(commandSection)].join("\n\n");
  return between(between(page, "exit codes", exitCodes()), "reference", reference);
}

function between(page: string, name: string, text: string): string {
  const begin = `<!-- ${name}: written by scripts/cli-reference.ts -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(`<!-- end of ${name} -->`);
  if (from < 0 || to < from) throw new Error(`Cannot write the ${name} into "${PAGE}": its marks are gone`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}

interface Named {
  readonly path: readonly string[];
  readonly command: Command;
}

async function commandsOf(node: Command | Group, path: readonly string[]): Promise<readonly Named[]> {
  if (node.kind === "command") return [{ path, command: node }];
  const below: Named[] = [];
  for (const entry of node.entries) {
    below.push(...(await commandsOf(await entry.load(daemonForCli), [...path, entry.name])));
  }
  return below;
}

function commonSection(): string {
  return `### Common flags\n\n${flagTable(Object.entries(commonFlags))}`;
}

function commandSection({ path, command }: Named): string {
  const own = Object.entries(command.flags).filter((named) => !isCommonFlag(named));
  const words = Object.entries(command.words).map(
    ([name, word]) => `- \`${wordTitle(name)}\`: ${word.about}`,
  );
  const examples = command.examples.map(({ about, line }) => `# ${about}\n${line}`);
  return [
    `### ${path.join(" ")}`,
    `${capital(command.summary)}.`,
    ...(command.description === undefined ? [] : [command.description]),
    `\`\`\`\n${usageLine(command, path)}\n\`\`\``,
    ...(words.length === 0 ? [] : [words.join("\n")]),
    ...(own.length === 0 ? [] : [flagTable(own)]),
    `\`\`\`sh\n${examples.join("\n")}\n\`\`\``,
  ].join("\n\n");
}

function flagTable(flags: readonly (readonly [string, Flag<unknown>])[]): string {
  const rows = flags.map(([name, flag]) => {
    const value = flag.placeholder === undefined ? "" : ` ${flag.placeholder}`;
    const short = flag.short === undefined ? "" : `\`-${flag.short}\`, `;
    return `| ${short}\`${flagTitle(name)}${value.replaceAll("|", "\\|")}\` | ${flagAbout(flag).replaceAll("|", "\\|")} |`;
  });
  return ["| flag | |", "|---|---|", ...rows].join("\n");
}

function exitCodes(): string {
  const general = Object.entries(EXIT_CODES).map(([name, code]) => `| ${code} | ${meaningOf(name)} |`);
  const command = [
    `| ${COMMAND_EXIT_CODES.timedOut} | the command was killed because its time was over |`,
    `| ${COMMAND_EXIT_CODES.failed} | the command was not run, or how it ended can't be told |`,
    `| ${COMMAND_EXIT_CODES.notExecutable} | the command is there and can't be run; or its own code |`,
    `| ${COMMAND_EXIT_CODES.notFound} | there is no such command; or its own code |`,
    `| ${COMMAND_EXIT_CODES.signalled} + n | the command was killed by signal n |`,
    "| any other | the command's own |",
  ];
  const health = Object.entries(HEALTH_EXIT_CODES).map(
    ([name, code]) => `| ${code} | ${HEALTH_MEANINGS[name]} |`,
  );
  const signals = Object.entries(SIGNAL_EXIT_CODES).map(([name, code]) => `| ${code} | ended by ${name} |`);
  const head = "| code | means |\n|---|---|";
  return [
    `Every command but those below:\n\n${head}\n${[...general, ...signals].join("\n")}`,
    `\`run\` and \`container exec\`:\n\n${head}\n${command.join("\n")}`,
    `\`health\`:\n\n${head}\n${health.join("\n")}`,
  ].join("\n\n");
}

const HEALTH_MEANINGS: Readonly<Record<string, string>> = {
  serving: "serving",
  usage: "the words or the configuration were wrong",
  cannotConnect: "no connection to the server",
  callFailed: "the call failed, or there is no such service",
  notServing: "not serving",
};

function meaningOf(name: string): string {
  switch (name) {
    case "ok":
      return "done";
    case "defect":
      return "a defect of the command line itself, or its output takes no more (a full disk)";
    case "usage":
      return "the words or the configuration were wrong; nothing was done";
    default:
      return `the server's or the client's \`${name.toUpperCase()}\``;
  }
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

if (import.meta.main) await Bun.write(PAGE, await withReference(await Bun.file(PAGE).text()));
