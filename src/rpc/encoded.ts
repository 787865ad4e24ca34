import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";

/** An answer that is encoded already: one copy that many readers get, sent as it is. */
export class Encoded {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** The message that `message` describes, encoded. */
export function encode<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Encoded {
  return new Encoded(toBinary(schema, create(schema, message)));
}
