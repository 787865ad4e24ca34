import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountsDiffer } from "../../../src/containers/policy/got-mounts.ts";
import { type FileIdentity, pin } from "../../../src/containers/policy/host-paths.ts";

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "baaaht-got-")));
  for (const name of ["in", "out", "moved"]) mkdirSync(join(folder, name));
  symlinkSync(join(folder, "in"), join(folder, "link"));
  symlinkSync("in/../../", join(folder, "up"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** This process stands for a container whose root is the host's: what it has at a target is what is there. */
const { pid } = process;

async function filesOf(...names: readonly string[]): Promise<ReadonlyMap<string, FileIdentity>> {
  const entries = names.map(async (name) => {
    await using pinned = await pin(join(folder, name));
    return [join(folder, name), pinned.identity] as const;
  });
  return new Map(await Promise.all(entries));
}

describe("mountsDiffer()", () => {
  test("is content with the file that was checked, also at the end of links in the container", async () => {
    const files = await filesOf("in");
    const source = join(folder, "in");
    for (const target of [source, join(folder, "link"), join(folder, "out/.././link"), `/../..${source}`]) {
      expect(await mountsDiffer([{ source, target }], { pid, files })).toBeUndefined();
    }
    expect(await mountsDiffer([{ source, target: source }], { pid })).toBeUndefined();
  });

  test("finds another file, and none", async () => {
    const files = await filesOf("in");
    const source = join(folder, "in");
    for (const target of [join(folder, "out"), join(folder, "nothing"), "/"]) {
      const why = await mountsDiffer([{ source, target }], { pid, files });
      expect(why).toBe(`${target} is another file than ${source} was when it was checked`);
    }
  });

  test("finds that two targets are one mount", async () => {
    const files = await filesOf("in", "out");
    const wanted = ["in", "out"].map((name) => ({ source: join(folder, name), target: join(folder, name) }));
    expect(await mountsDiffer(wanted, { pid, files })).toBe(
      `${join(folder, "out")} is not a mount of its own`,
    );
  });

  test.each([
    ["undefined", undefined],
    ["of nobody", 4_194_305],
  ])("goes by the path where the process is %s", async (_, ended) => {
    const files = await filesOf("in", "moved");
    const source = join(folder, "in");
    expect(await mountsDiffer([{ source, target: "/x" }], { pid: ended, files })).toBeUndefined();
    const moved = join(folder, "moved");
    renameSync(moved, `${moved}-away`);
    symlinkSync(source, moved);
    expect(await mountsDiffer([{ source: moved, target: "/x" }], { pid: ended, files })).toBe(
      `${moved} is another file than when it was checked`,
    );
    // Without what was there before, a path that is a link by now is not what was allowed.
    expect(await mountsDiffer([{ source: moved, target: "/x" }], { pid: ended })).toContain(
      "leads elsewhere now",
    );
    rmSync(moved);
    renameSync(`${moved}-away`, moved);
  });
});
