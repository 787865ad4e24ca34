import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A disk of a few megabytes, mounted for one test. */
export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Writes until there is no space left. */
  fill(): void;
  /** Takes away what fill() has written. */
  free(): void;
  /** Lets nothing be written to it, or lets it again. Only works while no file on it is open for writing. */
  setReadOnly(readOnly: boolean): void;
}

/** Mounts a tmpfs. Throws, saying what it takes, where that is not allowed: what a full disk does is not skipped. */
export async function smallDisk(options: { readonly megabytes: number }): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), "baaaht-disk-"));
  run(["mount", "-t", "tmpfs", "-o", `size=${options.megabytes}m,mode=700`, "baaaht-test", path]);
  const ballast = join(path, "ballast");
  return {
    path,
    fill: () => fill(ballast),
    free: () => rmSync(ballast),
    setReadOnly: (readOnly) => run(["mount", "-o", `remount,${readOnly ? "ro" : "rw"}`, path]),
    [Symbol.asyncDispose]: async () => {
      run(["umount", "--lazy", path]);
      await rm(path, { recursive: true, force: true });
    },
  };
}

function fill(ballast: string): void {
  const file = openSync(ballast, "a");
  try {
    for (const size of [65_536, 4_096, 1]) {
      const block = Buffer.alloc(size);
      while (writesAll(file, block));
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function writesAll(file: number, block: Buffer): boolean {
  try {
    return writeSync(file, block) === block.length;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOSPC") return false;
    throw error;
  }
}

function run(command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command, { stderr: "pipe" });
  if (exitCode === 0) return;
  throw new Error(
    `Cannot run "${command.join(" ")}": ${stderr.toString().trim()}; this test mounts a small disk, which takes root (or CAP_SYS_ADMIN)`,
  );
}
