import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";

/** A message as gRPC puts it into an HTTP/2 stream: not compressed, 4 bytes of length, then its bytes. */
export function framed<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Buffer {
  return framedBytes(toBinary(schema, create(schema, message)));
}

export function framedBytes(bytes: Uint8Array): Buffer {
  const frame = Buffer.alloc(frameHeadBytes + bytes.byteLength);
  frame.writeUInt32BE(bytes.byteLength, 1);
  frame.set(bytes, frameHeadBytes);
  return frame;
}

export const frameHeadBytes = 5;

/** Counts the messages in a stream of frames, however it is cut into pieces. */
export class FrameCounter {
  #rest: Uint8Array = new Uint8Array(0);

  /** How many messages are complete with `bytes` that were not before. */
  take(bytes: Uint8Array): number {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let complete = 0;
    for (;;) {
      const { buffer, byteOffset, length } = this.#rest;
      if (length < frameHeadBytes) return complete;
      const size = frameHeadBytes + new DataView(buffer, byteOffset).getUint32(1);
      if (length < size) return complete;
      this.#rest = this.#rest.subarray(size);
      complete += 1;
    }
  }
}
