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
