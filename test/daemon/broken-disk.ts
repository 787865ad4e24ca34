import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TempFolder, tempFolder } from "../temp-folder.ts";

/** A disk that does not confirm what was written. */
export interface BrokenDisk extends AsyncDisposable {
  /** For the server whose disk it is. */
  readonly env: Readonly<Record<string, string>>;
  /** From now on syncs fail, or never end. */
  be(what: "fails" | "hangs"): void;
  mend(): void;
}

/** Makes syncs of a server fail by a library that is loaded before libc, which takes a C compiler. */
export async function brokenDisk(): Promise<BrokenDisk> {
  const folder: TempFolder = await tempFolder();
  const library = folder.file("broken-disk.so");
  const source = join(import.meta.dir, "broken-disk.c");
  const compiled = Bun.spawnSync(["cc", "-shared", "-fPIC", "-o", library, source], { stderr: "pipe" });
  if (!compiled.success) throw new Error(`Cannot compile ${source}: ${compiled.stderr.toString()}`);
  return {
    env: { LD_PRELOAD: library, BROKEN_DISK: folder.path },
    be: (what) => writeFileSync(folder.file(what), ""),
    mend: () => {
      for (const what of ["fails", "hangs"]) rmSync(folder.file(what), { force: true });
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
