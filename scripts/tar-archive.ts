/** One entry of an archive, owned by root unless it says otherwise. */
export type TarEntry =
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: "folder"; readonly path: string; readonly mode: number; readonly owner?: number }
  | { readonly kind: "link"; readonly path: string; readonly target: string };

const BLOCK = 512;

/**
 * A POSIX (ustar) archive of the entries, in their order, without times: the same entries give the same bytes.
 * Paths are relative and at most 100 bytes, or 255 where they can be cut at a slash.
 */
export function tarArchive(entries: readonly TarEntry[]): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  for (const entry of entries) {
    blocks.push(header(entry));
    if (entry.kind === "file") {
      blocks.push(entry.content, new Uint8Array((BLOCK - (entry.content.length % BLOCK)) % BLOCK));
    }
  }
  blocks.push(new Uint8Array(2 * BLOCK));
  return joined(blocks);
}

function header(entry: TarEntry): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  const [name, prefix] = splitPath(entry.path);
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, "0")}\0`;
  const owner = entry.kind === "folder" ? (entry.owner ?? 0) : 0;
  block.write(name, 0);
  block.write(octal(entry.kind === "link" ? 0o777 : entry.mode, 8), 100);
  block.write(octal(owner, 8), 108);
  block.write(octal(owner, 8), 116);
  block.write(octal(entry.kind === "file" ? entry.content.length : 0, 12), 124);
  block.write(octal(0, 12), 136);
  block.write(" ".repeat(8), 148); // the checksum counts its own field as spaces
  block.write({ file: "0", link: "2", folder: "5" }[entry.kind], 156);
  if (entry.kind === "link") block.write(short(entry.target, 100), 157);
  block.write("ustar\x0000", 257);
  block.write(prefix, 345);
  block.write(
    `${octal(
      block.reduce((sum, byte) => sum + byte, 0),
      7,
    )} `,
    148,
  );
  return block;
}

function splitPath(path: string): [name: string, prefix: string] {
  if (Buffer.byteLength(path) <= 100) return [path, ""];
  const cut = path.indexOf("/", path.length - 101);
  return [short(path.slice(cut + 1), 100), short(path.slice(0, cut), 155)];
}

function short(text: string, limit: number): string {
  if (Buffer.byteLength(text) > limit)
    throw new RangeError(`Cannot archive "${text}": more than ${limit} bytes`);
  return text;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
