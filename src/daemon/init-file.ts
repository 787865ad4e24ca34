import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Put in by build.ts, in base64; when run from source the name does not exist. */
declare const BAAAHT_INIT: string | undefined;

/**
 * Writes the init that containers get into `folder`, and gives its path; `undefined` when this executable has none,
 * because it was built where no C compiler was, or when it can't be written, which `warn` hears of. Each version has a
 * file of its own, since containers may still use it.
 */
export function writeInitFile(folder: string, warn: (why: string) => void): string | undefined {
  const bytes = initBytes();
  if (bytes === undefined) return undefined;
  try {
    return write(folder, bytes);
  } catch (error) {
    // A full disk is no reason not to serve; commands in containers then wait for the engine.
    warn(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

function write(folder: string, bytes: Buffer): string {
  const version = new Bun.CryptoHasher("sha256").update(bytes).digest("hex").slice(0, 12);
  const path = join(folder, `init-${version}`);
  if (existsSync(path) && readFileSync(path).equals(bytes)) return path;
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, bytes);
  chmodSync(fresh, 0o555);
  renameSync(fresh, path);
  return path;
}

function initBytes(): Buffer | undefined {
  if (typeof BAAAHT_INIT === "string")
    return BAAAHT_INIT === "" ? undefined : Buffer.from(BAAAHT_INIT, "base64");
  // From source: what the last build has left.
  const built = join(import.meta.dir, "..", "..", "dist", `init-${process.arch}`);
  return existsSync(built) ? readFileSync(built) : undefined;
}
