import { Failure } from "../failure.ts";

/** A tar archive comes in blocks of so many bytes. */
const blockBytes = 512;

/**
 * The same bytes, once their beginning has been seen to be an uncompressed tar archive's. Engines unpack gzip, bzip2 and
 * xz as well, which nobody here can bound, and take nothing for an empty archive.
 *
 * Failures: INVALID_ARGUMENT naming `data`, thrown by the iteration.
 */
export function checkedArchive(archive: AsyncIterable<Uint8Array>): {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** How many bytes have gone through. */
  readonly size: () => number;
} {
  let size = 0;
  async function* bytes(): AsyncGenerator<Uint8Array, void, undefined> {
    let head: Uint8Array | undefined = new Uint8Array(0);
    for await (const chunk of archive) {
      size += chunk.byteLength;
      if (head === undefined) {
        yield chunk;
        continue;
      }
      head = Buffer.concat([head, chunk]);
      if (head.byteLength < blockBytes) continue;
      if (!beginsArchive(head.subarray(0, blockBytes)))
        throw noArchive("its first block is no header of one");
      yield head;
      head = undefined;
    }
    if (head !== undefined) throw noArchive(`it ends after ${size} bytes`);
  }
  return { bytes: bytes(), size: () => size };
}

/** A header says what its own bytes add up to; an archive of nothing begins with its end, which is zeros. */
function beginsArchive(block: Uint8Array): boolean {
  if (block.every((byte) => byte === 0)) return true;
  const written = Number.parseInt(
    Buffer.from(block.subarray(148, 156)).toString("latin1").replace(/\0.*$/s, "").trim(),
    8,
  );
  // The sum counts its own field as blanks; some old programs added bytes up with their signs.
  let [plain, signed] = [0, 0];
  for (const [at, byte] of block.entries()) {
    const counted = at >= 148 && at < 156 ? 0x20 : byte;
    plain += counted;
    signed += counted > 127 ? counted - 256 : counted;
  }
  return written === plain || written === signed;
}

function noArchive(why: string): Failure {
  const description = `is not an uncompressed tar archive: ${why}`;
  return new Failure("invalid_argument", `Cannot copy files into the container: data ${description}`, {
    violations: [{ field: "data", description }],
  });
}
