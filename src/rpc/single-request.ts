import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Metadata, ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { Failure } from "../failure.ts";
import { decodeRequest, type Method } from "./method.ts";
import { ServedCall } from "./served-call.ts";

/** What grpc-js tells of what the client does. */
export type WireListener = Parameters<ServerInterceptingCallInterface["start"]>[0];

/** Reads the one request of a call, then gives it to `answer`. */
export class SingleRequest implements WireListener {
  readonly #wire: ServerInterceptingCallInterface;
  readonly #method: Method;
  readonly #answer: (request: MessageShape<DescMessage>, call: ServedCall) => void;
  #call: ServedCall | undefined;
  #bytes: Uint8Array | undefined;

  constructor(
    wire: ServerInterceptingCallInterface,
    method: Method,
    answer: (request: MessageShape<DescMessage>, call: ServedCall) => void,
  ) {
    this.#wire = wire;
    this.#method = method;
    this.#answer = answer;
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.#call = new ServedCall(this.#wire, this.#method, metadata);
    this.#wire.startRead();
  }

  onReceiveMessage(bytes: Uint8Array): void {
    if (this.#bytes === undefined) {
      this.#bytes = bytes;
      this.#wire.startRead();
    } else {
      this.#call?.fail(this.#miscounted("more than one"));
    }
  }

  onReceiveHalfClose(): void {
    const call = this.#call;
    if (call === undefined) return;
    call.halfClosed = true;
    if (call.ended) return;
    try {
      if (this.#bytes === undefined) throw this.#miscounted("no");
      call.admit();
      this.#answer(decodeRequest(this.#method, this.#bytes), call);
    } catch (error) {
      call.fail(error);
    }
  }

  onCancel(): void {
    this.#call?.close();
  }

  /** gRPC has UNIMPLEMENTED for a wrong number of requests. */
  #miscounted(sent: string): Failure {
    return new Failure(
      "unimplemented",
      `Cannot call ${this.#method.name}: it takes one request, and ${sent} request was sent`,
    );
  }
}
