/**
 * Where the chunk that begins at `from` ends, in UTF-16 units: it holds at most `maxBytes` of UTF-8 and whole characters.
 * One character that is larger goes alone. `maxBytes` 0: all of the text.
 *
 * @example
 * chunkEnd("aé€", { from: 0, maxBytes: 3 }); // { end: 2, bytes: 3 }
 */
export function chunkEnd(
  text: string,
  options: { readonly from: number; readonly maxBytes: number },
): { readonly end: number; readonly bytes: number } {
  const { from, maxBytes } = options;
  // A UTF-16 unit is at most three bytes of UTF-8, so most texts need no walk.
  if (maxBytes === 0 || (text.length - from) * 3 <= maxBytes) {
    return { end: text.length, bytes: Buffer.byteLength(from === 0 ? text : text.slice(from)) };
  }
  let end = from;
  let bytes = 0;
  while (end < text.length) {
    const code = text.codePointAt(end) ?? 0;
    const more = bytesOf(code);
    if (bytes > 0 && bytes + more > maxBytes) break;
    bytes += more;
    end += code > 0xffff ? 2 : 1;
    if (bytes >= maxBytes) break;
  }
  return { end, bytes };
}

/** Bytes of a character in UTF-8; half a pair, which is written as U+FFFD, has as many as that. */
function bytesOf(code: number): number {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code > 0xffff ? 4 : 3;
}
