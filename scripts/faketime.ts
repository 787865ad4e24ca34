import { copyFileSync, existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { unpack } from "./image.ts";
import type { Progress } from "./progress.ts";
import { SetUpError } from "./set-up-error.ts";

const CACHED = resolve(import.meta.dir, "..", ".cache", "packages", "libfaketimeMT.so.1");

/** The library that moves a process's clock: the system's, or that of Debian's package, unpacked here. Debian only. */
export async function findFaketime(progress: Progress): Promise<string> {
  const installed = libraryIn("/usr");
  if (installed !== undefined) return installed;
  if (existsSync(CACHED)) return CACHED;
  using unpacked = await unpack(["libfaketime"], progress);
  const found = libraryIn(join(unpacked.path, "usr"));
  if (found === undefined)
    throw new SetUpError("Cannot move a clock: libfaketime holds no libfaketimeMT.so.1");
  copyFileSync(found, CACHED);
  return CACHED;
}

/** Debian has it in a folder for each kind of machine. */
function libraryIn(prefix: string): string | undefined {
  const folder = join(prefix, "lib");
  if (!existsSync(folder)) return undefined;
  return readdirSync(folder)
    .map((name) => join(folder, name, "faketime", "libfaketimeMT.so.1"))
    .find((path) => existsSync(path));
}
