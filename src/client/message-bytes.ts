import { type DescMethod, fromBinary, type Message, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import { MAX_MESSAGE_BYTES } from "./connection.ts";

/** The name that gRPC calls `method` by, such as `/proto.agent.v1.AgentService/Register`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The bytes of a request, not copied; throws a Failure when it can't be encoded or has more than a message may have. */
export function encodeRequest(method: DescMethod, request: Message): Buffer {
  const bytes = encoded(method, request);
  if (bytes.byteLength > MAX_MESSAGE_BYTES) {
    throw new Failure(
      "resource_exhausted",
      `Cannot send ${method.name}: the request has ${bytes.byteLength} bytes, and a message may have ${MAX_MESSAGE_BYTES}`,
      { reason: "MESSAGE_TOO_LARGE" },
    );
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function decodeAnswer(method: DescMethod, bytes: Buffer): MessageShape<DescMethod["output"]> {
  try {
    return fromBinary(method.output, bytes);
  } catch (cause) {
    throw new Failure(
      "internal",
      `Cannot read the answer to ${method.name}: it is not a ${method.output.typeName}`,
      {
        reason: "MALFORMED_MESSAGE",
        cause,
      },
    );
  }
}

function encoded(method: DescMethod, request: Message): Uint8Array {
  try {
    return toBinary(method.input, request);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid_argument", `Cannot send ${method.name}: ${why}`, {
      reason: "MALFORMED_MESSAGE",
      cause,
    });
  }
}
