import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { compileInit } from "../init/compile.ts";
import type { Runtime, RuntimeId } from "../src/runtime/runtime.ts";

/** The init, compiled from its source, where an engine on this machine finds it. It is removed when the tests end. */
export function initFile(): string {
  const processor = process.arch === "arm64" ? "arm64" : "x64";
  const bytes = compileInit(processor);
  if (bytes === undefined) throw new Error("Cannot compile the init for a test: there is no C compiler");
  const folder = mkdtempSync(join(tmpdir(), "baaaht-init-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "init");
  writeFileSync(path, bytes, { mode: 0o555 });
  return path;
}

const source = join(import.meta.dir, "..", "init", "init.c");

/** Makes sure that servers that are run from source have the init that the build would give them. */
export function ensureInit(): void {
  const built = join(import.meta.dir, "..", "dist", `init-${process.arch}`);
  if (existsSync(built) && statSync(built).mtimeMs > statSync(source).mtimeMs) return;
  mkdirSync(dirname(built), { recursive: true });
  copyFileSync(initFile(), built);
}

/** Runs commands in a container until one is run by its init. */
export async function untilInitRuns(runtime: Runtime, id: RuntimeId): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  for (;;) {
    await using exec = await runtime.exec(id, { ...plain, command: ["true"] }, signal);
    for await (const _ of exec.output);
    if (exec.id.startsWith("init-")) return;
  }
}

const plain = { env: {}, workingDir: "", user: "", tty: false, stdin: false };
