import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { namedSettings } from "../../src/daemon/setting-names.ts";

const root = join(import.meta.dir, "../..");
const page = (name: string) => readFileSync(join(root, "docs", name), "utf8");

/** The reasons that the code of some files gives. */
function reasonsIn(isWanted: (file: string) => boolean): Set<string> {
  const reasons = new Set<string>();
  for (const file of new Glob("src/**/*.ts").scanSync({ cwd: root })) {
    if (!isWanted(file)) continue;
    const text = readFileSync(join(root, file), "utf8");
    for (const [, inPlace, named] of text.matchAll(/reason: "([A-Z_]+)"|^export const ([A-Z_]+) = "\2"/gm)) {
      reasons.add(inPlace ?? named ?? "");
    }
  }
  return reasons;
}

/** The reasons that a page has a row for. */
function listedIn(name: string): Set<string> {
  return new Set([...page(name).matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, reason]) => reason ?? ""));
}

describe("docs/workers.md", () => {
  test("lists every code that the built-in worker gives a task's error", () => {
    const codes = reasonsIn((file) => file.startsWith("src/worker/"));
    codes.delete("ATTEMPT_LOST"); // stands for no error
    const listed = listedIn("workers.md");
    expect([...codes].filter((code) => !listed.has(code))).toEqual([]);
  });
});

describe("docs/errors.md", () => {
  // The command line's own never leave it, and a worker's are codes of tasks.
  const reasons = reasonsIn((file) => !/^src\/(gen|cli|worker)\//.test(file));
  const listed = listedIn("errors.md");

  test("lists every reason that the code gives, and no other", () => {
    expect([...listed].toSorted()).toEqual([...reasons].toSorted());
  });
});

describe("docs/limits.md", () => {
  const settings = new Set(namedSettings.map(({ name }) => name));
  const mentioned = [...page("limits.md").matchAll(/^\| [^|]+ \| `([a-z.-]+)` \|/gm)].map(
    ([, name]) => name ?? "",
  );

  test("names only settings that there are", () => {
    expect(mentioned.filter((name) => !settings.has(name))).toEqual([]);
  });

  test("names every setting that bounds how much there can be", () => {
    const bounds = [...settings].filter((name) => /(^|\.)max-/.test(name));
    expect(bounds.filter((name) => !mentioned.includes(name))).toEqual([]);
  });
});
