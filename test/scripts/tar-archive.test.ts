import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../../scripts/run-command.ts";
import { type TarEntry, tarArchive } from "../../scripts/tar-archive.ts";

const LONG = `${"folder/".repeat(20)}${"n".repeat(90)}`;
const ENTRIES: readonly TarEntry[] = [
  { kind: "folder", path: "tmp/", mode: 0o1777 },
  { kind: "folder", path: "home/", mode: 0o755, owner: 1000 },
  { kind: "file", path: "home/hello", mode: 0o640, content: Buffer.from("hello\n") },
  { kind: "file", path: LONG, mode: 0o644, content: new Uint8Array(512) },
  { kind: "link", path: "sh", target: "/bin/busybox" },
];

async function tar(flags: string, ...words: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-tar-"));
  try {
    writeFileSync(join(folder, "a.tar"), tarArchive(ENTRIES));
    const done = await runCommand(["tar", flags, join(folder, "a.tar"), ...words], {
      env: { LC_ALL: "C", TZ: "UTC" },
    });
    expect(done.exitCode, done.output).toBe(0);
    return done.stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("tarArchive() is read by tar with names, modes, owners and sizes", async () => {
  const lines = (await tar("-tvf")).trim().split("\n");
  expect(lines.map((line) => line.replace(/\s+/g, " "))).toEqual([
    "drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/",
    "drwxr-xr-x 1000/1000 0 1970-01-01 00:00 home/",
    "-rw-r----- 0/0 6 1970-01-01 00:00 home/hello",
    `-rw-r--r-- 0/0 512 1970-01-01 00:00 ${LONG}`,
    "lrwxrwxrwx 0/0 0 1970-01-01 00:00 sh -> /bin/busybox",
  ]);
});

test("tarArchive() holds the contents", async () => {
  expect(await tar("-xOf", "home/hello")).toBe("hello\n");
});

test("tarArchive() makes the same bytes of the same entries", () => {
  expect(Buffer.from(tarArchive(ENTRIES)).equals(tarArchive(ENTRIES))).toBe(true);
});

test("tarArchive() refuses a path that the format can't hold", () => {
  const path = "x".repeat(300);
  expect(() => tarArchive([{ kind: "folder", path, mode: 0o755 }])).toThrow("Cannot archive");
});
