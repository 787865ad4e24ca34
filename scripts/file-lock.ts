import { dlopen } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { SetUpError } from "./set-up-error.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Holds an exclusive lock on a file until disposed. The kernel lets go of it when the process ends, however it ends,
 * so there is no stale lock to clean up. Linux with glibc only.
 *
 * @throws SetUpError when another process still holds it after `timeoutMs`.
 */
export async function lockFile(path: string, timeoutMs: number): Promise<Disposable> {
  const libc = dlopen("libc.so.6", { flock: { args: ["i32", "i32"], returns: "i32" } });
  const fd = openSync(path, "a", 0o600);
  const deadline = performance.now() + timeoutMs;
  while (libc.symbols.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    if (performance.now() > deadline) {
      closeSync(fd);
      throw new SetUpError(`Cannot lock "${path}": another process has held it for ${timeoutMs / 1000} s`);
    }
    // flock has no event to wait for, and its blocking form would stop this process from hearing Ctrl-C.
    await Bun.sleep(100);
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
}
