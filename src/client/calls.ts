import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { AnswerStream, type Answers } from "./answers.ts";
import type { CallOptions } from "./call-options.ts";
import { streamOnce } from "./client-streaming.ts";
import type { Transport } from "./transport.ts";
import { unary } from "./unary.ts";

/** A service as plain functions, one for each method; what they throw is a `Failure`. */
export type Calls<S extends DescService> = {
  readonly [Name in keyof S["method"]]: CallOf<S["method"][Name]>;
};

type CallOf<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryCall<I, O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamingCall<I, O>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? ClientStreamingCall<I, O>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? BidiStreamingCall<I, O>
          : never;

type UnaryCall<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

type ServerStreamingCall<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => Answers<MessageShape<O>>;

/** Sends as fast as the server takes; the call ends when the server has answered, also before all is sent. */
type ClientStreamingCall<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageInitShape<I>>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/** The end of `requests` half-closes the call; an error that they throw cancels it and is thrown by the answers. */
type BidiStreamingCall<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageInitShape<I>>,
  options?: CallOptions,
) => Answers<MessageShape<O>>;

/** The calls of `service` over `transport`. */
export function callsOf<S extends DescService>(service: S, transport: Transport): Calls<S> {
  const calls = service.methods.map((method) => [method.localName, callOf(method, transport)]);
  // Each method's function is made by its own kind, which is what Calls derives its type from.
  return Object.fromEntries(calls) as Calls<S>;
}

function callOf(method: DescMethod, transport: Transport) {
  switch (method.methodKind) {
    case "unary":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        unary(transport, method, { request, options });
    case "server_streaming":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        new AnswerStream(transport, method, { requests: once(request), options });
    case "client_streaming":
      return (requests: AsyncIterable<MessageInitShape<DescMessage>>, options: CallOptions = {}) =>
        streamOnce(transport, method, { requests, options });
    case "bidi_streaming":
      return (requests: AsyncIterable<MessageInitShape<DescMessage>>, options: CallOptions = {}) =>
        new AnswerStream(transport, method, { requests, options });
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
