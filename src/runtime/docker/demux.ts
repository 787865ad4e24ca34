import type { Failure } from "../../failure.ts";
import type { OutputChunk } from "../runtime.ts";

export interface DemuxOptions {
  /** Each chunk is a whole frame (up to `MAX_WHOLE_FRAME` bytes) rather than what there is of one. */
  readonly wholeFrames: boolean;
  /** The Failure for a stream that breaks its own rules, or that carries an error of the engine. */
  readonly broken: (why: string) => Failure;
}

/** The largest frame that is put together in memory, in bytes. The engine's own log cuts at 16 KiB. */
const MAX_WHOLE_FRAME = 1024 * 1024;
const HEADER_BYTES = 8;
const SYSTEM_ERROR = 3;

/**
 * Takes apart the engine's multiplexed output: frames of 1 byte stream, 3 bytes nothing, 4 bytes length (big-endian) and
 * that many bytes. Nothing is read from `source` until the chunk before was taken, and leaving early leaves `source` too.
 */
export async function* demux(
  source: AsyncIterable<Uint8Array>,
  options: DemuxOptions,
): AsyncGenerator<OutputChunk> {
  const header = new Uint8Array(HEADER_BYTES);
  let headerFilled = 0;
  let left = 0;
  let kept: Uint8Array[] = [];
  for await (const bytes of source) {
    let at = 0;
    while (at < bytes.length) {
      if (left === 0) {
        const taken = Math.min(HEADER_BYTES - headerFilled, bytes.length - at);
        header.set(bytes.subarray(at, at + taken), headerFilled);
        headerFilled += taken;
        at += taken;
        if (headerFilled < HEADER_BYTES) break;
        left = frameLength(header, options);
        if (left === 0) headerFilled = 0;
        continue;
      }
      const piece = bytes.subarray(at, at + left);
      at += piece.length;
      left -= piece.length;
      const whole = left === 0;
      if (whole) headerFilled = 0;
      kept.push(piece);
      const wanted = options.wholeFrames || header[0] === SYSTEM_ERROR;
      if (wanted && !whole && byteCount(kept) < MAX_WHOLE_FRAME) continue;
      const data = joined(kept);
      kept = [];
      if (header[0] === SYSTEM_ERROR) throw options.broken(new TextDecoder().decode(data).trim());
      yield { stream: header[0] === 2 ? "stderr" : "stdout", data };
    }
  }
  if (headerFilled > 0) throw options.broken("its stream ended in the middle of a frame");
}

function frameLength(header: Uint8Array, options: DemuxOptions): number {
  const [stream = 0, ...zeros] = header.subarray(0, 4);
  if (stream > SYSTEM_ERROR || zeros.some((byte) => byte !== 0)) {
    throw options.broken("its stream is not made of frames");
  }
  return new DataView(header.buffer).getUint32(4);
}

function byteCount(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
}
