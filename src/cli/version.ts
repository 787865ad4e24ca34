import { commit, date, version } from "../version.ts";
import { cell } from "./cell.ts";
import { command } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { outputFlags, printer } from "./output.ts";

export const versionCommand = command({
  name: "version",
  summary: "say which version this is",
  words: {},
  flags: outputFlags,
  examples: [
    { about: "version, commit and date", line: "baaaht version" },
    { about: "the version alone", line: "baaaht version --quiet" },
  ],
  run: async ({ flags, shell }) => {
    await printer(shell, flags).record({
      id: version,
      value: () => ({
        version,
        commit,
        date,
        bun: Bun.version,
        platform: `${process.platform}-${process.arch}`,
      }),
      rows: () => [
        ["Version", cell(version)],
        ["Commit", cell(commit)],
        ["Date", cell(date)],
      ],
    });
    return EXIT_CODES.ok;
  },
});
