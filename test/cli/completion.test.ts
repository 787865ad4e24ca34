import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { typed } from "./command-line.ts";
import { allCommands } from "./commands.ts";

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "baaaht-completion-"));
  // Completion of ids asks the program itself; this one has two sessions.
  writeFileSync(join(folder, "baaaht"), '#!/bin/sh\n[ "$1" = session ] && printf "0192f3a4\\n0192f3b5\\n"\n');
  chmodSync(join(folder, "baaaht"), 0o755);
  for (const shell of ["bash", "zsh", "fish"]) {
    writeFileSync(join(folder, shell), (await typed(["completion", shell])).stdout);
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What bash offers for the last of `words`. */
function bashOffers(words: readonly string[]): readonly string[] {
  const script = `source "$1"; shift
complete -p baaaht >/dev/null || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_baaaht
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    ["bash", "--norc", "-c", script, "bash", join(folder, "bash"), ...words],
    { env: { PATH: `${folder}${delimiter}${process.env.PATH}` }, cwd: folder },
  );
  expect(stderr.toString()).toBe("");
  expect(exitCode).toBe(0);
  return stdout
    .toString()
    .split("\n")
    .filter((line) => line !== "");
}

test.each([
  [
    ["baaaht", "se"],
    ["serve", "session"],
  ],
  [
    ["baaaht", "session", ""],
    ["create", "list", "get", "update", "close"],
  ],
  [["baaaht", "session", "list", "--st"], ["--state"]],
  [
    ["baaaht", "session", "list", "--state", "cl"],
    ["closing", "closed"],
  ],
  [["baaaht", "session", "list", "--state", "=", "a"], ["active"]],
  [
    ["baaaht", "-o", ""],
    ["table", "json", "jsonl", "yaml"],
  ],
  [["baaaht", "-o", "json", "session", "l"], ["list"]],
  [["baaaht", "session", "get", "0192f3a"], ["0192f3a4"]],
  [
    ["baaaht", "completion", ""],
    ["bash", "zsh", "fish"],
  ],
  [["baaaht", "container", "exec", "-i", "--us"], ["--user"]],
  [
    ["baaaht", "serve", "--log-"],
    ["--log-level", "--log-format"],
  ],
  [["baaaht", "serve", "--config", "fi"], ["fish"]],
  [["baaaht", "version", ""], []],
])("bash completes %j", (words, offers) => {
  expect(bashOffers(words)).toEqual(offers);
});

test("bash offers every command and every flag of each", async () => {
  for (const { path, command } of await allCommands()) {
    const last = path.at(-1) ?? "";
    expect(bashOffers(["baaaht", ...path.slice(0, -1), last])).toContain(last);
    const offered = bashOffers(["baaaht", ...path, "-"]);
    for (const name of Object.keys(command.flags)) {
      const title = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      expect(offered).toContain(title);
    }
  }
});

test("the scripts for bash, zsh and fish are read by their shells without a word", () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { exitCode, stderr } = Bun.spawnSync([shell, "-n", join(folder, shell)], { env: {} });
    expect({ shell, exitCode, stderr: stderr.toString() }).toEqual({ shell, exitCode: 0, stderr: "" });
  }
});

test("fish completes commands, flags, values and ids", () => {
  const offers = (line: string): readonly string[] => {
    const command = `source ${join(folder, "fish")}; complete -C '${line}'`;
    const env = { PATH: `${folder}${delimiter}${process.env.PATH}`, HOME: folder };
    const { stdout } = Bun.spawnSync(["fish", "--no-config", "-c", command], { env });
    return stdout
      .toString()
      .split("\n")
      .map((offer) => offer.split("\t")[0] ?? "")
      .filter((offer) => offer !== "");
  };
  expect(offers("baaaht se")).toEqual(["serve", "session"]);
  expect(offers("baaaht session list --state cl").toSorted()).toEqual(["closed", "closing"]);
  expect(offers("baaaht -o json session l")).toEqual(["list"]);
  expect(offers("baaaht container exec -i --us")).toEqual(["--user"]);
  expect(offers("baaaht session get 0192f3a")).toEqual(["0192f3a4"]);
});
