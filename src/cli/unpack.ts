import { constants } from "node:fs";
import { chmod, lchown, link, lstat, mkdir, open, symlink, unlink, utimes } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type Entry, extract, type Headers } from "tar-stream";
import { Failure } from "../failure.ts";

export interface Unpacking {
  /** A folder that is there. Nothing is written outside it. */
  readonly folder: string;
  /** What the archive's one root is called in it; empty: what is in the root goes into the folder itself. */
  readonly name: string;
  /** Whether owners are as the archive says, where this user may do that, and setuid, setgid and sticky are kept. */
  readonly owners: "as_archived" | "mine";
  /** Told of what is left out. */
  readonly warn: (message: string) => Promise<void>;
}

/**
 * Unpacks an archive that a container gave, which may say anything: no name leaves the folder, no link on the way is
 * followed, and no device is made.
 *
 * Failures: INVALID_ARGUMENT when it is no archive, FAILED_PRECONDITION for an entry that would leave the folder or take a
 * folder's place. What was written before stays.
 */
export async function unpack(archive: AsyncIterable<Uint8Array>, unpacking: Unpacking): Promise<void> {
  const entries = extract();
  const source = Readable.from(archive, { objectMode: false });
  source.on("error", (error) => entries.destroy(error));
  source.pipe(entries);
  const target = new Target(unpacking);
  try {
    for await (const entry of entries) await target.put(entry);
    await target.finish();
  } catch (error) {
    throw inWords(error);
  } finally {
    source.destroy();
  }
}

interface Folder {
  readonly path: string;
  readonly header: Headers;
}

class Target {
  readonly #unpacking: Unpacking;
  /** Their permissions and times come last: what is put into them would change the ones, and could be kept out by the others. */
  readonly #folders: Folder[] = [];
  /** How many parts of each name are the root; undefined before the first entry. */
  #rootParts: number | undefined;
  #root = "";
  /** The folder that was seen to be one last. Nothing of the archive takes a folder's place, so that it stays one. */
  #checked = "";

  constructor(unpacking: Unpacking) {
    this.#unpacking = unpacking;
  }

  async put(entry: Entry): Promise<void> {
    const { header } = entry;
    const path = this.#pathOf(header.name);
    if (path.length === 0) {
      if (header.type !== "directory") throw refused(header.name, "is no folder, and stands for one");
      this.#folders.push({ path: this.#unpacking.folder, header });
    } else {
      await this.#checkAbove(path, header.name);
      await this.#write(entry, join(this.#unpacking.folder, ...path));
    }
    entry.resume();
  }

  async finish(): Promise<void> {
    for (const { path, header } of this.#folders.reverse()) {
      if (path === this.#unpacking.folder) continue; // it is the user's own
      await this.#own(path, header);
      await chmod(path, this.#modeOf(header));
      await utimes(path, timeOf(header), timeOf(header));
    }
  }

  /** The parts of an entry's place below the folder. */
  #pathOf(name: string): readonly string[] {
    if (name.startsWith("/")) throw refused(name, "is absolute");
    const parts = name.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..") || parts.some((part) => part.includes("\0")))
      throw refused(name, "would leave the folder");
    if (this.#rootParts === undefined) {
      this.#rootParts = Math.min(1, parts.length);
      this.#root = parts[0] ?? "";
    }
    if (this.#rootParts === 1 && parts[0] !== this.#root)
      throw refused(name, `is not in "${this.#root}" as the others`);
    const inRoot = parts.slice(this.#rootParts);
    return this.#unpacking.name === "" ? inRoot : [this.#unpacking.name, ...inRoot];
  }

  /** Makes the folders above a place, and refuses links among them: they may lead anywhere. */
  async #checkAbove(path: readonly string[], name: string): Promise<void> {
    const above = path.slice(0, -1);
    const whole = join(this.#unpacking.folder, ...above);
    if (whole === this.#checked) return;
    let at = this.#unpacking.folder;
    for (const part of above) {
      at = join(at, part);
      const found = await whatIs(at);
      if (found === undefined) await mkdir(at, { mode: 0o755 });
      else if (!found.isDirectory()) throw refused(name, `leads through "${at}", which is no folder`);
    }
    this.#checked = whole;
  }

  async #write(entry: Entry, path: string): Promise<void> {
    const { header } = entry;
    const before = await whatIs(path);
    if (header.type === "directory") {
      if (before === undefined) await mkdir(path, { mode: 0o700 });
      else if (!before.isDirectory()) throw refused(header.name, `is a folder, and "${path}" is none`);
      this.#folders.push({ path, header });
      return;
    }
    if (before?.isDirectory()) throw refused(header.name, `is no folder, and "${path}" is one`);
    if (
      header.type !== "file" &&
      header.type !== "contiguous-file" &&
      header.type !== "symlink" &&
      header.type !== "link"
    ) {
      await this.#unpacking.warn(
        `left out "${header.name}": it is a ${header.type ?? "thing of an unknown kind"}`,
      );
      return;
    }
    // A link that is there would be written through, and so would the other names of a file.
    if (before !== undefined) await unlink(path);
    if (header.type === "symlink") {
      await symlink(header.linkname ?? "", path);
      await this.#own(path, header);
    } else if (header.type === "link") {
      await this.#linkTo(header, path);
    } else {
      await this.#fill(entry, path);
    }
  }

  async #linkTo({ name, linkname }: Headers, path: string): Promise<void> {
    const target = this.#pathOf(linkname ?? "");
    await this.#checkAbove(target, name);
    const at = join(this.#unpacking.folder, ...target);
    if (!(await whatIs(at))?.isFile())
      throw refused(name, `is another name of "${linkname}", which is no file here`);
    await link(at, path);
  }

  async #fill(entry: Entry, path: string): Promise<void> {
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    await using file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    for await (const chunk of entry) {
      for (let rest: Uint8Array = chunk; rest.byteLength > 0; ) {
        const { bytesWritten } = await file.write(rest);
        rest = rest.subarray(bytesWritten);
      }
    }
    const { header } = entry;
    await this.#own(path, header);
    await file.chmod(this.#modeOf(header));
    await file.utimes(timeOf(header), timeOf(header));
  }

  async #own(path: string, { uid = 0, gid = 0 }: Headers): Promise<void> {
    if (this.#unpacking.owners === "as_archived" && process.getuid?.() === 0) await lchown(path, uid, gid);
  }

  /** A program of a container must not come to act as whoever unpacks it. */
  #modeOf({ mode = 0o644 }: Headers): number {
    return mode & (this.#unpacking.owners === "as_archived" ? 0o7777 : 0o777);
  }
}

async function whatIs(path: string): Promise<Awaited<ReturnType<typeof lstat>> | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function timeOf({ mtime }: Headers): Date {
  return mtime ?? new Date(0);
}

function refused(name: string, why: string): Failure {
  return new Failure("failed_precondition", `Cannot unpack the archive: its entry "${name}" ${why}`);
}

/** What is wrong with the archive, or with what is written: the system's words say which file. */
function inWords(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof Failure) return error;
  if ("syscall" in error && "code" in error) {
    const kind =
      error.code === "ENOSPC" || error.code === "EDQUOT" ? "resource_exhausted" : "failed_precondition";
    return new Failure(kind, `Cannot unpack the archive: ${error.message}`, { cause: error });
  }
  return new Failure("invalid_argument", `Cannot unpack the archive: ${error.message}`, { cause: error });
}
