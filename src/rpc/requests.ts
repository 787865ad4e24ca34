import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Metadata, ServerInterceptingCallInterface } from "@grpc/grpc-js";
import type { Failure } from "../failure.ts";
import { decodeRequest, type Method } from "./method.ts";
import { ServedCall } from "./served-call.ts";
import type { WireListener } from "./single-request.ts";

type Request = MessageShape<DescMessage>;

/**
 * The requests of a call that has a stream of them, read from the client only as the handler asks for them, one at a
 * time. Ends with the client's half-close, and throws when the call is aborted or a request can't be decoded.
 */
export class Requests implements WireListener, AsyncIterableIterator<Request> {
  readonly #wire: ServerInterceptingCallInterface;
  readonly #method: Method;
  readonly #answer: (requests: Requests, call: ServedCall) => void;
  #call: ServedCall | undefined;
  #waiting: PromiseWithResolvers<IteratorResult<Request, undefined>> | undefined;
  #over: { readonly reason: Failure | undefined } | undefined;

  constructor(
    wire: ServerInterceptingCallInterface,
    method: Method,
    answer: (requests: Requests, call: ServedCall) => void,
  ) {
    this.#wire = wire;
    this.#method = method;
    this.#answer = answer;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Request, undefined>> {
    if (this.#over?.reason !== undefined) return Promise.reject(this.#over.reason);
    if (this.#over !== undefined) return Promise.resolve({ done: true, value: undefined });
    if (this.#waiting !== undefined) {
      return Promise.reject(new Error("the request that was asked for before has not come yet"));
    }
    const waiting = Promise.withResolvers<IteratorResult<Request, undefined>>();
    this.#waiting = waiting;
    this.#wire.startRead();
    return waiting.promise;
  }

  return(): Promise<IteratorResult<Request, undefined>> {
    this.#finish(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  onReceiveMetadata(metadata: Metadata): void {
    const call = new ServedCall(this.#wire, this.#method, metadata);
    this.#call = call;
    call.whenAborted((reason) => this.#finish(reason));
    try {
      call.admit();
      call.watch();
      this.#answer(this, call);
    } catch (error) {
      call.fail(error);
    }
  }

  onReceiveMessage(bytes: Uint8Array): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    try {
      waiting?.resolve({ done: false, value: decodeRequest(this.#method, bytes) });
    } catch (error) {
      waiting?.reject(error);
    }
  }

  onReceiveHalfClose(): void {
    if (this.#call !== undefined) this.#call.halfClosed = true;
    // A cancel reaches Bun's streams as an end first. Only when all that came along with the end has been looked at
    // is it certain that the client has sent all that it meant to send.
    setImmediate(() => this.#finish(undefined));
  }

  onCancel(): void {
    this.#call?.close();
  }

  #finish(reason: Failure | undefined): void {
    this.#over ??= { reason };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (reason === undefined) waiting?.resolve({ done: true, value: undefined });
    else waiting?.reject(reason);
  }
}
