import { dlopen } from "bun:ffi";
import { libcPath } from "./libc-path.ts";

/** The calls of the C library that Bun has no binding for. Linux with glibc or musl, and macOS. */
export const libc = dlopen(libcPath(), {
  flock: { args: ["i32", "i32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
}).symbols;

/** Takes the exclusive lock of an open file or folder, until the descriptor is closed; false when another has it. */
export function tryLock(fd: number): boolean {
  return libc.flock(fd, LOCK_EX | LOCK_NB) === 0;
}

// From sys/file.h, the same on Linux and macOS.
const LOCK_EX = 2;
const LOCK_NB = 4;
