import { readFileSync } from "node:fs";

/**
 * The C library that this process already runs on, by its absolute path. Never by a bare name: where the loader finds
 * none, `dlopen` takes a file of that name from the current folder, whoever put it there.
 *
 * @throws Error where it can't be told, which is neither Linux with glibc or musl nor macOS.
 */
export function libcPath(platform: NodeJS.Platform = process.platform): string {
  if (platform === "darwin") return "/usr/lib/libSystem.B.dylib";
  const path = platform === "linux" ? pathIn(readFileSync("/proc/self/maps", "utf8")) : undefined;
  if (path === undefined) throw new Error(`Cannot find the C library on ${platform}: no known one is loaded`);
  return path;
}

/** The C library among the mappings of a Linux process: glibc's, or musl's, which is also its loader. */
export function pathIn(maps: string): string | undefined {
  return /\s(\/\S*\/(?:libc\.so\.6|libc-2\.\d+\.so|ld-musl-\w+\.so\.1|libc\.musl-\w+\.so\.1))$/m.exec(
    maps,
  )?.[1];
}
