import { expect, test } from "bun:test";
import { flagTitle, type Given } from "../../src/cli/command.ts";
import { parse } from "../../src/cli/parse.ts";
import { QUIET_SHELL, typed } from "./command-line.ts";
import { allCommands } from "./commands.ts";

const commands = await allCommands();

test.each(commands.map(({ path, command }) => [path.join(" "), command] as const))(
  "%s has a summary, an example, and no two flags of one name",
  (path, command) => {
    expect(command.summary).toMatch(/^[a-z].*[^.]$/);
    expect(command.examples).not.toBeEmpty();
    for (const { line } of command.examples) expect(line).toContain(`baaaht ${path}`);
    const shorts = Object.values(command.flags).flatMap(({ short }) => short ?? []);
    expect(shorts.toSorted()).toEqual([...new Set(shorts)].toSorted());
    expect(shorts).not.toContain("h");
    expect(Object.keys(command.flags).map(flagTitle)).not.toContain("--help");
  },
);

test.each(commands.map(({ path }) => path))(
  "%s %s answers --help on stdout with exit code 0",
  async (...path) => {
    const names = path.filter((name) => typeof name === "string");
    const asked = await typed([...names, "--help"]);
    expect(asked).toMatchObject({ exitCode: 0, stderr: "" });
    expect(asked.stdout).toContain(`Usage:\n  baaaht ${names.join(" ")}`);
    expect(asked.stdout).toContain("Examples:");
    expect(await typed(["help", ...names])).toEqual(asked);
  },
);

test("examples are command lines that the parser takes", async () => {
  for (const { path, command } of commands) {
    for (const { line } of command.examples) {
      const own = line.slice(line.indexOf(`baaaht ${path.join(" ")}`)).replace(/\s*(\)|\||<(?!\()|>).*$/, "");
      const words = shellWords(own).slice(1 + path.length);
      const read = (): Given | { readonly help: true } => parse(command, words, QUIET_SHELL.env);
      // xargs adds what a command in the middle of a pipe lacks.
      if (!line.includes("xargs")) expect(read, line).not.toThrow();
    }
  }
});

/** Words as a shell makes them, with the few ways of quoting that examples use. */
function shellWords(line: string): readonly string[] {
  return [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([found]) => found.replaceAll(/['"]/g, ""));
}
