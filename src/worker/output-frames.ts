/** The largest piece of output that is sent in one frame, bytes. */
const MAX_FRAME_BYTES = 1024 * 1024;

/**
 * Cuts one output of a task into frames that are not too large, and, where it is UTF-8, not within a character: who shows
 * frames as text shows whole characters.
 */
export class OutputFrames {
  #rest: Uint8Array = new Uint8Array(0);

  /** The frames that `data` completes; at most three bytes wait for more. */
  take(data: Uint8Array): readonly Uint8Array[] {
    const bytes = this.#rest.byteLength === 0 ? data : Buffer.concat([this.#rest, data]);
    const frames: Uint8Array[] = [];
    let from = 0;
    while (from < bytes.byteLength) {
      const window = bytes.subarray(from, from + MAX_FRAME_BYTES);
      const whole = window.subarray(0, window.byteLength - cutBytes(window));
      if (whole.byteLength === 0) break;
      frames.push(whole);
      from += whole.byteLength;
    }
    this.#rest = bytes.slice(from); // a copy: what it is a part of is not kept
    return frames;
  }

  /** What waits for more that does not come. */
  rest(): readonly Uint8Array[] {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    return rest.byteLength === 0 ? [] : [rest];
  }
}

/** How many bytes at the end begin a UTF-8 character that is not complete: 0 to 3. */
function cutBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.byteLength); back += 1) {
    const byte = bytes[bytes.byteLength - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue; // goes on with a character that began before
    return lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

/** Of the character that `first` begins, in bytes. */
function lengthOf(first: number): number {
  if (first >= 0xf0 && first < 0xf8) return 4;
  if (first >= 0xe0) return 3;
  return first >= 0xc0 ? 2 : 1;
}
