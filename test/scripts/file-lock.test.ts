import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { lockFile } from "../../scripts/file-lock.ts";

const MODULE = resolve(import.meta.dir, "../../scripts/file-lock.ts");

function freshFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "baaaht-lock-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test("lockFile() lets one holder in at a time", async () => {
  using folder = freshFolder();
  const path = join(folder.path, "lock");
  const first = await lockFile(path, 1_000);
  await expect(lockFile(path, 0)).rejects.toThrow("another process has held it");
  first[Symbol.dispose]();
  using _second = await lockFile(path, 0);
});

test("lockFile() is free again when its holder is killed", async () => {
  using folder = freshFolder();
  const path = join(folder.path, "lock");
  const source = `
    import { lockFile } from ${JSON.stringify(MODULE)};
    await lockFile(${JSON.stringify(path)}, 1000);
    process.stdout.write("held");
    setInterval(() => {}, 1000);`;
  const holder = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe", stderr: "inherit" });
  await holder.stdout.getReader().read();
  await expect(lockFile(path, 0)).rejects.toThrow("another process has held it");
  holder.kill("SIGKILL");
  await holder.exited;
  using _lock = await lockFile(path, 0);
});
