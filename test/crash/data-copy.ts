import { Database } from "bun:sqlite";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What is found in a data folder that no server uses, by looking at a copy: the next start must find it untouched. */
export function inspectData(dataDir: string): { readonly integrity: string; readonly install: string } {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-crash-copy-"));
  try {
    cpSync(dataDir, folder, { recursive: true });
    using database = new Database(join(folder, "baaaht.db"));
    const check = database.query<{ integrity_check: string }, []>("PRAGMA integrity_check").all();
    const meta = database
      .query<{ value: string }, []>("SELECT value FROM meta WHERE \"key\" = 'install'")
      .get();
    return { integrity: check.map((row) => row.integrity_check).join("; "), install: meta?.value ?? "" };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
