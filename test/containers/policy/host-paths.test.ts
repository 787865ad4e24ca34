import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { linkSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findPath, realGuards } from "../../../src/containers/policy/host-paths.ts";
import type { FoundPath } from "../../../src/containers/policy/mount-policy.ts";

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "baaaht-paths-")));
  mkdirSync(join(folder, "in"));
  writeFileSync(join(folder, "own"), "");
  linkSync(join(folder, "own"), join(folder, "in/hard"));
  symlinkSync(join(folder, "in"), join(folder, "link"));
  symlinkSync("loop", join(folder, "loop"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function found(path: string): Promise<FoundPath> {
  const { found: what, pinned } = await findPath(path, [
    { path: join(folder, "own"), what: "the server's socket" },
  ]);
  await pinned?.[Symbol.asyncDispose]();
  return what;
}

describe("findPath()", () => {
  test("gives the real name of what is there", async () => {
    const there = { kind: "there", path: join(folder, "in"), guarded: "" };
    expect(await found(join(folder, "in"))).toEqual({ ...there, kind: "there" });
    expect(await found(join(folder, "link"))).toEqual({ ...there, kind: "there" });
    expect(await found(join(folder, "in/..//./in/"))).toEqual({ ...there, kind: "there" });
  });

  test("knows a guarded file by another name, devices, and what the kernel mounts, here or below", async () => {
    expect(await found(join(folder, "in/hard"))).toMatchObject({ guarded: "is the server's socket" });
    expect(await found("/dev/null")).toMatchObject({ guarded: "is a device" });
    expect(await found("/proc/self")).toMatchObject({ guarded: "is of the kernel (proc)" });
    expect(await found("/sys")).toMatchObject({ guarded: "is of the kernel (sysfs)" });
    expect(await found("/")).toMatchObject({ guarded: expect.stringMatching(/^holds .*of the kernel/) });
  });

  test("tells what is missing from what can't be looked at", async () => {
    expect(await found(join(folder, "nothing"))).toEqual({ kind: "missing" });
    expect(await found(join(folder, "own/below"))).toEqual({ kind: "missing" });
    expect(await found(join(folder, "loop"))).toEqual({
      kind: "hidden",
      reason: "the server can't look at it (ELOOP)",
    });
  });
});

test("realGuards() adds the names that places really have, and keeps those of what is not there", async () => {
  const guards = [
    { path: join(folder, "link"), what: "a" },
    { path: join(folder, "nothing"), what: "b" },
  ];
  expect(await realGuards(guards)).toEqual([...guards, { path: join(folder, "in"), what: "a" }]);
});
