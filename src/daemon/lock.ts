import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../failure.ts";
import { tryLock } from "./libc.ts";

/** Holds a data folder for one server, until disposed or until the process ends, however it ends. */
export interface DataLock extends AsyncDisposable {
  readonly path: string;
}

/**
 * Locks `<folder>/lock`. The file stays when the lock is gone: removing it would let two servers lock two files of
 * the same name.
 *
 * @throws Failure `failed_precondition`, naming the holder's process id, when another server holds the folder;
 * `permission_denied` or `not_found` when the file can't be opened.
 */
export function lockDataFolder(folder: string): DataLock {
  const path = join(folder, "lock");
  const fd = open(path, folder);
  if (!tryLock(fd)) {
    closeSync(fd);
    throw heldByAnother(path, folder);
  }
  if (!names(path, fd)) {
    closeSync(fd);
    throw new Failure("aborted", `Cannot lock data folder "${folder}": its lock file was replaced meanwhile`);
  }
  writeHolder(fd);
  return {
    path,
    async [Symbol.asyncDispose]() {
      closeSync(fd);
    },
  };
}

function open(path: string, folder: string): number {
  try {
    return openSync(path, "a+", 0o600);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new Failure("not_found", `Cannot lock data folder "${folder}": there is no such folder`, {
        cause,
      });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("permission_denied", `Cannot lock data folder "${folder}": ${why}`, { cause });
  }
}

/** For the words of whoever finds it held. The lock holds without them, as on a full disk. */
function writeHolder(fd: number): void {
  try {
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`, 0);
  } catch {
    // It says "another process" then.
  }
}

function heldByAnother(path: string, folder: string): Failure {
  const pid = readFileSync(path, "utf8").trim();
  const holder = /^\d+$/.test(pid) ? `process ${pid}` : "another process";
  return new Failure("failed_precondition", `Cannot lock data folder "${folder}": ${holder} serves from it`, {
    reason: "DATA_FOLDER_IN_USE",
    metadata: { holder_pid: pid },
  });
}

/** Whether the file that `fd` has open is still the one called `path`. */
function names(path: string, fd: number): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  const held = fstatSync(fd);
  return named !== undefined && named.ino === held.ino && named.dev === held.dev;
}
