import { type Command, command, type Entry, type Group, manyWords } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { problem } from "./flag.ts";
import { commandHelp, groupHelp } from "./help.ts";
import { root } from "./root.ts";
import type { Server } from "./shell.ts";
import { commandSuggestion } from "./suggest.ts";

export const helpCommand = command({
  name: "help",
  summary: "explain a command",
  words: { command: manyWords({ about: "its name, such as session create", optional: true }) },
  flags: {},
  examples: [{ about: "what session create takes", line: "baaaht help session create" }],
  run: async ({ words, shell }) => {
    const found = await findCommand(words.command, shell.server);
    const text = found.kind === "group" ? groupHelp(found, words.command) : commandHelp(found, words.command);
    await shell.out.write(text);
    return EXIT_CODES.ok;
  },
});

/** What is called by these names. */
async function findCommand(names: readonly string[], server: Server): Promise<Command | Group> {
  let found: Command | Group = root;
  for (const [index, name] of names.entries()) {
    const before = ["baaaht", ...names.slice(0, index)].join(" ");
    if (found.kind === "command") throw problem(`"${before}" has no commands of its own`);
    const entry: Entry | undefined = found.entries.find((one) => one.name === name);
    if (entry === undefined) {
      const close = commandSuggestion(
        name,
        found.entries.map((one) => one.name),
      );
      const hint = close === undefined ? "" : `; did you mean "${close}"?`;
      throw problem(`unknown command "${before} ${name}"${hint}`);
    }
    found = await entry.load(server);
  }
  return found;
}
