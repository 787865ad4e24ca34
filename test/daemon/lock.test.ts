import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockDataFolder } from "../../src/daemon/lock.ts";

function freshFolder(): string {
  return mkdtempSync(join(tmpdir(), "baaaht-lock-"));
}

/** Another process that holds the lock of `folder`, and says so. */
async function holder(folder: string) {
  const script = `
    import { lockDataFolder } from "../../src/daemon/lock.ts";
    await using lock = lockDataFolder(${JSON.stringify(folder)});
    console.log("locked");
    await new Promise((resolve) => process.stdin.on("end", resolve).resume());`;
  const child = Bun.spawn(["bun", "-e", script], { cwd: import.meta.dir, stdin: "pipe", stdout: "pipe" });
  await child.stdout.getReader().read();
  return child;
}

describe("lockDataFolder()", () => {
  test("lockDataFolder() notes the process that holds it", async () => {
    const folder = freshFolder();
    await using lock = lockDataFolder(folder);
    expect(lock.path).toBe(join(folder, "lock"));
    expect(readFileSync(lock.path, "utf8")).toBe(`${process.pid}\n`);
  });

  test("lockDataFolder() refuses a folder that another process serves from, and names it", async () => {
    const folder = freshFolder();
    const child = await holder(folder);
    expect(() => lockDataFolder(folder)).toThrow(
      `Cannot lock data folder "${folder}": process ${child.pid} serves from it`,
    );
    child.stdin.end();
    await child.exited;
    await using lock = lockDataFolder(folder);
    expect(lock.path).toStartWith(folder);
  });

  test("lockDataFolder() takes over from a process that was killed", async () => {
    const folder = freshFolder();
    const child = await holder(folder);
    child.kill("SIGKILL");
    await child.exited;
    await using lock = lockDataFolder(folder);
    expect(readFileSync(lock.path, "utf8")).toBe(`${process.pid}\n`);
  });

  test("lockDataFolder() can be taken again after it was let go", async () => {
    const folder = freshFolder();
    for (let round = 0; round < 3; round++) {
      await using _ = lockDataFolder(folder);
      expect(() => lockDataFolder(folder)).toThrow(`process ${process.pid} serves from it`);
    }
  });

  test("lockDataFolder() takes a file with a longer name of a dead holder for what it is", async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, "lock"), "123456789012345\n");
    await using lock = lockDataFolder(folder);
    expect(readFileSync(lock.path, "utf8")).toBe(`${process.pid}\n`);
  });

  test("lockDataFolder() says that there is no such folder", () => {
    const folder = freshFolder();
    rmSync(folder, { recursive: true });
    expect(() => lockDataFolder(folder)).toThrow(
      `Cannot lock data folder "${folder}": there is no such folder`,
    );
  });

  test("lockDataFolder() says that it may not write", () => {
    const folder = freshFolder();
    chmodSync(folder, 0o555);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534); // root may write anywhere
    try {
      expect(() => lockDataFolder(folder)).toThrow("EACCES");
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});
