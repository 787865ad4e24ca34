/**
 * The same bytes in pieces of at least `bytes`, but for the last: many small pieces cost more on their way than the bytes
 * in them.
 *
 * @example
 * for await (const frame of gathered(archive, 512 * 1024)) await send(frame);
 */
export async function* gathered(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of source) {
    pieces.push(piece);
    size += piece.byteLength;
    if (size < bytes) continue;
    yield joined(pieces);
    pieces = [];
    size = 0;
  }
  if (size > 0) yield joined(pieces);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
}
