import { dlopen } from "bun:ffi";

/** glibc, musl by its two names, macOS. */
const LIBRARIES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1", "libSystem.B.dylib"];

/** The calls of the C library that Bun has no binding for. Linux with glibc or musl, and macOS. */
export const libc = openLibc();

function openLibc() {
  const failures: unknown[] = [];
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, {
        flock: { args: ["i32", "i32"], returns: "i32" },
        getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
      }).symbols;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new AggregateError(failures, `there is none of the C libraries ${LIBRARIES.join(", ")}`);
}

/** Takes the exclusive lock of an open file or folder, until the descriptor is closed; false when another has it. */
export function tryLock(fd: number): boolean {
  return libc.flock(fd, LOCK_EX | LOCK_NB) === 0;
}

// From sys/file.h, the same on Linux and macOS.
const LOCK_EX = 2;
const LOCK_NB = 4;
