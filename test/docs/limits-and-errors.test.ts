import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { namedSettings } from "../../src/daemon/setting-names.ts";

const root = join(import.meta.dir, "../..");
const page = (name: string) => readFileSync(join(root, "docs", name), "utf8");

describe("docs/errors.md", () => {
  const reasons = new Set<string>();
  for (const file of new Glob("src/**/*.ts").scanSync({ cwd: root })) {
    if (/^src\/(gen|cli)\//.test(file)) continue; // the command line's own never leave it
    const text = readFileSync(join(root, file), "utf8");
    for (const [, inPlace, named] of text.matchAll(/reason: "([A-Z_]+)"|^export const ([A-Z_]+) = "\2"/gm)) {
      reasons.add(inPlace ?? named ?? "");
    }
  }
  const listed = new Set(
    [...page("errors.md").matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, reason]) => reason ?? ""),
  );

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
