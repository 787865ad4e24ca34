import { join } from "node:path";

/**
 * What a test starts as `baaaht`: this Bun with src/main.ts, or the executable that TEST_PROGRAM names.
 * `bun run check` names the one that it has built, which starts with a third of the processor's time.
 */
export const PROGRAM: readonly string[] =
  process.env.TEST_PROGRAM === undefined
    ? [process.execPath, join(import.meta.dir, "../src/main.ts")]
    : [process.env.TEST_PROGRAM];
