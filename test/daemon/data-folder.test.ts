import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { makeDataFolder } from "../../src/daemon/data-folder.ts";
import { Failure } from "../../src/failure.ts";
import { tempFolder } from "../temp-folder.ts";

test("makeDataFolder() makes what is missing, for its owner alone", async () => {
  await using folder = await tempFolder();
  const path = folder.file("a/b/data");
  makeDataFolder(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test("makeDataFolder() takes a folder that is there as it is, also behind a link", async () => {
  await using folder = await tempFolder();
  const path = folder.file("data");
  mkdirSync(path);
  chmodSync(path, 0o750);
  symlinkSync(path, folder.file("link"));
  makeDataFolder(path);
  makeDataFolder(folder.file("link"));
  expect(statSync(path).mode & 0o777).toBe(0o750);
});

test("makeDataFolder() says what is in the way", async () => {
  await using folder = await tempFolder();
  writeFileSync(folder.file("file"), "");
  expect(failureOf(folder.file("file"))).toMatchObject({
    kind: "failed_precondition",
    message: `Cannot use data folder "${folder.file("file")}": it is not a folder`,
  });
  expect(failureOf(folder.file("file/below"))).toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining(`Cannot make data folder "${folder.file("file/below")}": ENOTDIR`),
  });
  expect(failureOf("/proc/none")).toMatchObject({ kind: "unavailable" });
});

function failureOf(path: string): unknown {
  try {
    makeDataFolder(path);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  return "it was made";
}
