import { describe, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Headers } from "tar-stream";
import { unpack } from "../../src/cli/unpack.ts";
import { thrown } from "../client/thrown.ts";
import { tar } from "../contract/runtime-copies.ts";
import { tempFolder } from "../temp-folder.ts";

type Entries = readonly (readonly [Headers, string])[];

const ROOT: readonly [Headers, string] = [{ name: "root/", type: "directory", mode: 0o755 }, ""];

async function unpacked(
  folder: string,
  entries: Entries,
  more: { readonly name?: string; readonly keeps?: true } = {},
) {
  const warnings: string[] = [];
  await unpack(tar(entries), {
    folder,
    name: more.name ?? "root",
    owners: more.keeps ? "as_archived" : "mine",
    warn: async (message) => void warnings.push(message),
  });
  return warnings;
}

/** A folder to unpack into, with one beside it that nothing may get into. */
async function folders(): Promise<AsyncDisposable & { readonly into: string; readonly beside: string }> {
  const temp = await tempFolder();
  const [into, beside] = [join(temp.path, "into"), join(temp.path, "beside")];
  mkdirSync(into);
  mkdirSync(beside);
  writeFileSync(join(beside, "secret"), "untouched");
  return { into, beside, [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose]() };
}

test("unpack() writes files, folders and links, with their modes and times, under another name", async () => {
  await using at = await folders();
  const mtime = new Date(1_700_000_000_000);
  await unpacked(
    at.into,
    [
      ROOT,
      [{ name: "root/shut", type: "directory", mode: 0o500, mtime }, ""],
      [{ name: "root/shut/file", mode: 0o640, mtime }, "content"],
      [{ name: "root/soft", type: "symlink", linkname: "shut/file" }, ""],
      [{ name: "root/hard", type: "link", linkname: "root/shut/file" }, ""],
    ],
    { name: "renamed" },
  );
  const path = join(at.into, "renamed");
  expect(readFileSync(join(path, "soft"), "utf8")).toBe("content");
  expect(readlinkSync(join(path, "soft"))).toBe("shut/file");
  expect(statSync(join(path, "hard")).ino).toBe(statSync(join(path, "shut/file")).ino);
  expect(statSync(join(path, "shut")).mode & 0o7777).toBe(0o500);
  expect(statSync(join(path, "shut/file")).mode & 0o7777).toBe(0o640);
  expect(statSync(join(path, "shut")).mtimeMs).toBe(mtime.getTime());
  expect(statSync(join(path, "shut/file")).mtimeMs).toBe(mtime.getTime());
});

test("unpack() puts what is in the root into the folder, and takes the place of files that are there", async () => {
  await using at = await folders();
  writeFileSync(join(at.into, "one"), "a longer one that was there before");
  await unpacked(at.into, [ROOT, [{ name: "root/one" }, "1"], [{ name: "./root/two" }, "2"]], { name: "" });
  expect(readFileSync(join(at.into, "one"), "utf8")).toBe("1");
  expect(readdirSync(at.into).toSorted()).toEqual(["one", "two"]);
});

test("unpack() drops setuid, setgid and sticky bits unless it is to keep them", async () => {
  await using at = await folders();
  const file: Entries = [
    [{ name: "root", mode: 0o6755, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }, ""],
  ];
  await unpacked(at.into, file, { name: "dropped" });
  await unpacked(at.into, file, { name: "kept", keeps: true });
  expect(statSync(join(at.into, "dropped")).mode & 0o7777).toBe(0o755);
  expect(statSync(join(at.into, "kept")).mode & 0o7777).toBe(0o6755);
});

test("unpack() leaves out devices and pipes, and says so", async () => {
  await using at = await folders();
  const warnings = await unpacked(at.into, [
    ROOT,
    [{ name: "root/null", type: "character-device", devmajor: 1, devminor: 3 }, ""],
    [{ name: "root/disk", type: "block-device", devmajor: 8, devminor: 0 }, ""],
    [{ name: "root/pipe", type: "fifo" }, ""],
    [{ name: "root/file" }, "x"],
  ]);
  expect(readdirSync(join(at.into, "root"))).toEqual(["file"]);
  expect(warnings).toHaveLength(3);
});

describe("unpack() writes nothing outside its folder", () => {
  const into = (
    name: string,
    type: NonNullable<Headers["type"]> = "file",
    linkname?: string,
  ): readonly [Headers, string] => [
    { name, type, ...(linkname === undefined ? {} : { linkname }) },
    type === "file" ? "evil" : "",
  ];
  test.each([
    ["a name with ..", [into("root/../../beside/secret")]],
    ["a first name with ..", [into("../beside/secret")]],
    ["an absolute name", [into("/tmp/baaaht-evil")]],
    ["a second root", [into("other/file")]],
    ["a link as a folder", [into("root/out", "symlink", "../../beside"), into("root/out/secret")]],
    [
      "a link of a link as a folder",
      [into("root/a", "symlink", "../../beside"), into("root/b", "symlink", "a"), into("root/b/secret")],
    ],
    [
      "a hard link to what lies outside",
      [into("root/hard", "link", "root/../../beside/secret"), into("root/hard")],
    ],
    [
      "a hard link through a link",
      [into("root/out", "symlink", "../../beside"), into("root/hard", "link", "root/out/secret")],
    ],
    [
      "a hard link to a link",
      [into("root/soft", "symlink", "../../beside/secret"), into("root/hard", "link", "root/soft")],
    ],
    [
      "a link in place of a folder",
      [into("root/dir", "directory"), into("root/dir", "symlink", "../../beside")],
    ],
    [
      "a folder in place of a link",
      [into("root/out", "symlink", "../../beside"), into("root/out", "directory"), into("root/out/secret")],
    ],
  ] as const)("by %s", async (_, entries) => {
    await using at = await folders();
    const failure = await thrown(() => unpacked(at.into, [ROOT, ...entries]));
    expect(failure.kind).toBe("failed_precondition");
    expect(failure.message).toStartWith("Cannot unpack the archive: its entry ");
    expect(readdirSync(at.beside)).toEqual(["secret"]);
    expect(readFileSync(join(at.beside, "secret"), "utf8")).toBe("untouched");
    expect(statSync(join(at.beside, "secret")).nlink).toBe(1);
  });

  test("by a link that a file takes the place of, in the archive or before it", async () => {
    await using at = await folders();
    symlinkSync(join(at.beside, "secret"), join(at.into, "before"));
    await unpacked(at.into, [ROOT, into("root/soft", "symlink", "../../beside/secret"), into("root/soft")]);
    await unpacked(at.into, [into("root")], { name: "before" });
    expect(readFileSync(join(at.beside, "secret"), "utf8")).toBe("untouched");
    expect(lstatSync(join(at.into, "before")).isFile()).toBe(true);
  });

  test("by a link to a folder that was there before", async () => {
    await using at = await folders();
    symlinkSync(at.beside, join(at.into, "root"));
    expect((await thrown(() => unpacked(at.into, [into("root/new")]))).kind).toBe("failed_precondition");
    expect(readdirSync(at.beside)).toEqual(["secret"]);
  });
});

test("unpack() of garbage, and of an archive that is cut off, is INVALID_ARGUMENT", async () => {
  await using at = await folders();
  const pieces: Uint8Array[] = [];
  for await (const piece of tar([[{ name: "root" }, "x".repeat(5_000)]])) pieces.push(piece);
  for (const bytes of [Buffer.from("garbage".repeat(1_000)), Buffer.concat(pieces).subarray(0, 2_000)]) {
    const failure = await thrown(() =>
      unpack(
        (async function* () {
          yield bytes;
        })(),
        { folder: at.into, name: "root", owners: "mine", warn: async () => {} },
      ),
    );
    expect(failure.kind).toBe("invalid_argument");
  }
});
