import { cell } from "./cell.ts";
import { command, type Group, group } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { outputFlags, printer } from "./output.ts";
import { serverFlags, serverFlagsGiven } from "./server-flags.ts";
import type { Server } from "./shell.ts";

/** `config show` and `config check`, with the flags that `serve` has, so that they answer for the same words. */
export async function configGroup(server: Server): Promise<Group> {
  const declared = await serverFlags(server);
  return group({
    name: "config",
    summary: "show and check the server's configuration",
    commands: [showCommand(declared), checkCommand(declared)],
  });
}

type Declared = Awaited<ReturnType<typeof serverFlags>>;

function showCommand(declared: Declared) {
  return command({
    name: "show",
    summary: "show every setting with its value and where that comes from",
    words: {},
    flags: { ...declared, ...outputFlags },
    examples: [
      { about: "all of them", line: "baaaht config show" },
      { about: "what is not a default", line: "baaaht config show --no-headers | grep -v default$" },
      { about: "as serve would see it with these words", line: "baaaht config show --config ./baaaht.toml" },
    ],
    run: async ({ flags, shell }) => {
      const { values, warnings } = await shell.server.configuration(serverFlagsGiven(flags, declared));
      for (const warning of warnings) await shell.err.write(`warning: ${warning}\n`);
      await printer(shell, flags).list({
        items: values,
        id: ({ name }) => name,
        itemValue: (one) => ({ ...one }),
        value: () => values.map((one) => ({ ...one })),
        columns: [
          { title: "SETTING", of: ({ name }) => cell(name) },
          { title: "VALUE", of: ({ value }) => cell(value === "" ? '""' : value) },
          { title: "SOURCE", of: ({ source }) => cell(source, source === "default" ? "faint" : "plain") },
        ],
      });
      return EXIT_CODES.ok;
    },
  });
}

function checkCommand(declared: Declared) {
  return command({
    name: "check",
    summary: "say whether the server could start with this configuration",
    description: "Every mistake is named at once. Ends with 0 when there is none.",
    words: {},
    flags: { ...declared, ...outputFlags },
    examples: [
      { about: "a file before it is put in place", line: "baaaht config check --config ./baaaht.toml" },
    ],
    run: async ({ flags, shell }) => {
      const { file, warnings } = await shell.server.configuration(serverFlagsGiven(flags, declared));
      await printer(shell, flags).record({
        id: "ok",
        value: () => ({ ok: true, file: file ?? null, warnings: [...warnings] }),
        rows: () => [
          ["Configuration", cell("ok", "good")],
          ["File", cell(file ?? "none")],
          ...warnings.map((warning) => ["Warning", cell(warning, "warning")] as const),
        ],
      });
      return EXIT_CODES.ok;
    },
  });
}
