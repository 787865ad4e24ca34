import { pack } from "tar-stream";

/** A file that is put into a container. */
export interface FileIn {
  /** Absolute. */
  readonly path: string;
  readonly data: Uint8Array;
}

/** Files and folders, given by absolute paths, as a tar archive to be unpacked at the root. */
export async function* archiveOf(
  files: readonly FileIn[],
  folders: readonly string[],
): AsyncGenerator<Uint8Array, void, undefined> {
  const archive = pack();
  try {
    for (const folder of folders)
      archive.entry({ name: `${folder.slice(1)}/`, type: "directory", mode: 0o755 });
    for (const { path, data } of files)
      archive.entry({ name: path.slice(1), mode: 0o644 }, Buffer.from(data));
    archive.finalize();
    yield* archive;
  } finally {
    archive.destroy();
  }
}
