import { posix } from "node:path";
import { Readable } from "node:stream";
import { extract, type Headers, pack } from "tar-stream";
import { Failure } from "../../src/failure.ts";
import type { CopyInto, PathStat } from "../../src/runtime/runtime.ts";

interface Node {
  readonly kind: PathStat["kind"];
  readonly mode: number;
  readonly content: Buffer;
  /** Of a link, as it was written. */
  readonly linkTarget: string;
  readonly modifiedAt: number;
}

const FOLDER: Node = { kind: "folder", mode: 0o755, content: Buffer.alloc(0), linkTarget: "", modifiedAt: 0 };

/** The files of a container of the fake engine: what was copied in, and a folder `/tmp`. Links of folders are not followed. */
export class FakeFiles {
  readonly #nodes = new Map<string, Node>([
    ["/", FOLDER],
    ["/tmp", FOLDER],
  ]);

  stat(path: string): PathStat | undefined {
    const place = posix.resolve("/", path);
    const node = this.#nodes.get(place);
    if (node === undefined) return undefined;
    const { kind, mode, content, linkTarget, modifiedAt } = node;
    const target = kind === "link" ? posix.resolve(posix.dirname(place), linkTarget) : "";
    return {
      name: posix.basename(place) || "/",
      kind,
      mode,
      size: content.length,
      modifiedAt,
      linkTarget: target,
    };
  }

  /** Makes an empty file in a folder that is there. */
  touch(path: string): void {
    const place = posix.resolve("/", path);
    this.#nodes.set(place, { ...FOLDER, kind: "file", mode: 0o644, modifiedAt: Date.now() });
  }

  async unpack(
    { path, overwrite }: CopyInto,
    archive: AsyncIterable<Uint8Array>,
    doing: string,
  ): Promise<void> {
    if (this.stat(path)?.kind !== "folder") {
      throw new Failure(
        this.stat(path) === undefined ? "not_found" : "failed_precondition",
        `Cannot ${doing}: no folder`,
      );
    }
    const entries = extract();
    const source = Readable.from(archive, { objectMode: false });
    source.on("error", (error) => entries.destroy(error));
    source.pipe(entries);
    try {
      for await (const entry of entries) {
        const chunks: Buffer[] = [];
        for await (const chunk of entry) chunks.push(Buffer.from(chunk));
        this.#put(posix.resolve("/", path, `./${posix.resolve("/", entry.header.name)}`), entry.header, {
          content: Buffer.concat(chunks),
          overwrite,
          doing,
        });
      }
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure(
        "invalid_argument",
        `Cannot ${doing}: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  archive(path: string, doing: string): AsyncIterable<Uint8Array> {
    const place = posix.resolve("/", path);
    if (this.#nodes.get(place) === undefined)
      throw new Failure("not_found", `Cannot ${doing}: Could not find the file`);
    const above = posix.dirname(place);
    const packed = pack();
    for (const [at, node] of [...this.#nodes].sort()) {
      if (at !== place && !at.startsWith(`${place === "/" ? "" : place}/`)) continue;
      const name = posix.relative(above, at);
      const type = node.kind === "folder" ? "directory" : node.kind === "link" ? "symlink" : "file";
      const mtime = new Date(node.modifiedAt);
      packed.entry({ name, type, mode: node.mode, mtime, linkname: node.linkTarget }, node.content);
    }
    packed.finalize();
    return packed;
  }

  #put(
    place: string,
    { type, mode = 0o644, mtime, linkname }: Headers,
    {
      content,
      overwrite,
      doing,
    }: { readonly content: Buffer; readonly overwrite: CopyInto["overwrite"]; readonly doing: string },
  ): void {
    const before = this.#nodes.get(place);
    const kind =
      type === "directory" ? "folder" : type === "symlink" ? "link" : type === "file" ? "file" : "other";
    const differ = before !== undefined && (before.kind === "folder") !== (kind === "folder");
    if (differ && overwrite === "same_kind")
      throw new Failure("failed_precondition", `Cannot ${doing}: cannot overwrite ${before.kind} "${place}"`);
    const modifiedAt = mtime?.getTime() ?? 0;
    this.#nodes.set(place, { kind, mode, content, linkTarget: linkname ?? "", modifiedAt });
    for (let above = posix.dirname(place); !this.#nodes.has(above); above = posix.dirname(above))
      this.#nodes.set(above, FOLDER);
  }
}
