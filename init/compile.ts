import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type InitProcessor = "x64" | "arm64";

const SOURCE = join(import.meta.dir, "init.c");

/** In this order, those that make files for the processor; the first that is there is used. */
const COMPILERS: Readonly<Record<InitProcessor, readonly string[]>> = {
  x64: [
    ...(process.arch === "x64" ? ["gcc", "cc"] : []),
    "x86_64-linux-gnu-gcc",
    "clang --target=x86_64-linux-gnu",
  ],
  arm64: [
    ...(process.arch === "arm64" ? ["gcc", "cc"] : []),
    "aarch64-linux-gnu-gcc",
    "clang --target=aarch64-linux-gnu",
  ],
};

/** No libc, nothing that names this machine or the time: the same source gives the same bytes. */
const OPTIONS = [
  ...["-std=c11", "-Os", "-Wall", "-Wextra", "-Werror"],
  ...["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"],
  ...["-Wl,--build-id=none", "-Wl,-z,noexecstack", "-s"],
];

/**
 * The init as an executable for Linux; `undefined` where no compiler for that processor is there.
 *
 * @throws Error with the compiler's words when it can't compile it.
 */
export function compileInit(processor: InitProcessor): Uint8Array | undefined {
  const compiler = COMPILERS[processor]
    .map((words) => words.split(" "))
    .find(([program = ""]) => Bun.which(program) !== null);
  if (compiler === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "baaaht-init-"));
  try {
    const made = join(folder, "init");
    const run = Bun.spawnSync([...compiler, ...OPTIONS, "-o", made, SOURCE], {
      stdin: "ignore",
      stderr: "pipe",
    });
    if (!run.success) throw new Error(`Cannot compile ${SOURCE}:\n${run.stderr.toString()}`);
    return readFileSync(made);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
