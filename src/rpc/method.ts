import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { Failure } from "../failure.ts";
import type { Edge } from "./edge.ts";
import { Encoded } from "./encoded.ts";
import type { Answer } from "./handlers.ts";

/** A method as it is served under one name. */
export interface Method {
  /** Such as `proto.agent.v1.AgentService/Register`. */
  readonly name: string;
  readonly input: DescMessage;
  readonly output: DescMessage;
  readonly edge: Edge;
}

/** Begins to answer a call; never throws. */
export type Answering = (wire: ServerInterceptingCallInterface) => void;

/** The request that `bytes` hold; throws a Failure that names its type when they hold none. */
export function decodeRequest(method: Method, bytes: Uint8Array): MessageShape<DescMessage> {
  try {
    return fromBinary(method.input, bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "they can't be read";
    throw new Failure(
      "invalid_argument",
      `Cannot call ${method.name}: the bytes sent are not a ${method.input.typeName}: ${why}`,
      { reason: "MALFORMED_MESSAGE", metadata: { message_type: method.input.typeName }, cause },
    );
  }
}

/** The bytes of an answer, not copied; throws a Failure when there are more of them than may be sent. */
export function encodeAnswer(method: Method, answer: Answer): Buffer {
  const bytes =
    answer instanceof Encoded ? answer.bytes : toBinary(method.output, create(method.output, answer));
  if (bytes.byteLength > method.edge.maxSendBytes) {
    throw new Failure(
      "resource_exhausted",
      `Cannot answer ${method.name}: the answer has ${bytes.byteLength} bytes, and a message may have ${method.edge.maxSendBytes}`,
      { reason: "MESSAGE_TOO_LARGE" },
    );
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
