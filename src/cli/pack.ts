import { createReadStream, type Stats } from "node:fs";
import { lstat, readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Headers, type Pack, pack } from "tar-stream";
import { Failure } from "../failure.ts";

export interface Packing {
  /** What is packed. */
  readonly path: string;
  /** What it is called in the archive; `.` for a folder whose content alone matters. */
  readonly name: string;
  /** Whether a link that is packed is followed; links below it are not. */
  readonly links: "followed" | "kept";
  /** Whether owners are as they are here, or root. */
  readonly owners: "as_here" | "root";
  /** Told of what is left out. */
  readonly warn: (message: string) => Promise<void>;
}

/** How much of a file is read at once. */
const pieceBytes = 1024 * 1024;

/** A file or folder as an uncompressed tar archive, read as it is taken. Failures: NOT_FOUND, FAILED_PRECONDITION. */
export async function* packed(packing: Packing): AsyncGenerator<Uint8Array, void, undefined> {
  const archive = pack();
  const feeding = (async () => {
    try {
      await add(archive, packing);
      archive.finalize();
    } catch (error) {
      archive.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  })();
  try {
    yield* archive;
    await feeding;
  } catch (error) {
    throw inWords(error, packing.path);
  } finally {
    archive.destroy();
  }
}

async function add(archive: Pack, packing: Packing): Promise<void> {
  const { path, name, links, warn } = packing;
  const found = links === "followed" ? await stat(path) : await lstat(path);
  const header = headerOf(found, packing);
  if (found.isDirectory()) {
    archive.entry({ ...header, name: `${name}/`, type: "directory" });
    for (const one of (await readdir(path)).sort()) {
      await add(archive, { ...packing, path: join(path, one), name: `${name}/${one}`, links: "kept" });
    }
  } else if (found.isSymbolicLink()) {
    archive.entry({ ...header, type: "symlink", linkname: await readlink(path) });
  } else if (found.isFile()) {
    await addFile(archive, { ...header, type: "file", size: found.size }, path);
  } else {
    await warn(`left out "${path}": it is no file, folder or link`);
  }
}

function headerOf({ mode, mtime, uid, gid }: Stats, { name, owners }: Packing): Headers {
  const owner = owners === "as_here" ? { uid, gid } : { uid: 0, gid: 0 };
  return { name, mode: mode & 0o7777, mtime, ...owner };
}

/** As many bytes as its header promises, also of a file that grows meanwhile. */
async function addFile(
  archive: Pack,
  header: Headers & { readonly size: number },
  path: string,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const entry = archive.entry(header, (error) => (error ? reject(error) : resolve()));
  promise.catch(() => {}); // it is waited for below, unless reading fails before
  if (header.size > 0) {
    const file = createReadStream(path, { highWaterMark: pieceBytes, end: header.size - 1 });
    let size = 0;
    for await (const piece of file) {
      size += piece.byteLength;
      if (!entry.write(piece)) await drained(entry, archive);
    }
    if (size < header.size)
      throw new Failure("aborted", `Cannot copy "${path}": it has become shorter while it was read`);
  }
  entry.end();
  await promise;
}

/** Nobody drains what is not read any more. */
async function drained(entry: ReturnType<Pack["entry"]>, archive: Pack): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = () => reject(new Failure("cancelled", "Cannot go on with the copy: nobody reads it"));
  entry.once("drain", resolve);
  archive.once("close", onClose);
  try {
    await promise;
  } finally {
    archive.off("close", onClose);
  }
}

function inWords(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof Failure || !("code" in error)) return error;
  const kind = error.code === "ENOENT" ? "not_found" : "failed_precondition";
  return new Failure(kind, `Cannot copy "${path}": ${error.message}`, { cause: error });
}
