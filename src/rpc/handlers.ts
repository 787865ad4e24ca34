import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Call } from "./call.ts";
import type { Encoded } from "./encoded.ts";

/**
 * The methods of a service that are served, as async functions and generators. What is left out is answered
 * UNIMPLEMENTED. Whatever a handler throws becomes the call's status: a Failure as it is, anything else INTERNAL.
 *
 * @example
 * const handlers: Handlers<typeof SessionService> = {
 *   getSession: async (request, call) => ({ session: await sessions.get(request.sessionId, call.signal) }),
 *   watch: async function* (request, call) {
 *     call.open();
 *     yield* sessions.watch(request.sessionId, call.signal);
 *   },
 * };
 */
export type Handlers<S extends DescService> = {
  readonly [Name in keyof S["method"]]?: Handler<S["method"][Name]>;
};

type Handler<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryHandler<I, O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamingHandler<I, O>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? ClientStreamingHandler<I, O>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? BidiStreamingHandler<I, O>
          : never;

/** An answer: what makes the message, or the message already encoded. */
export type Answer<O extends DescMessage = DescMessage> = MessageInitShape<O> | Encoded;

export type UnaryHandler<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = (
  request: MessageShape<I>,
  call: Call,
) => Promise<Answer<O>> | Answer<O>;

export type ServerStreamingHandler<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> = (request: MessageShape<I>, call: Call) => AsyncIterable<Answer<O>>;

export type ClientStreamingHandler<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> = (requests: AsyncIterable<MessageShape<I>>, call: Call) => Promise<Answer<O>>;

export type BidiStreamingHandler<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = (
  requests: AsyncIterable<MessageShape<I>>,
  call: Call,
) => AsyncIterable<Answer<O>>;
