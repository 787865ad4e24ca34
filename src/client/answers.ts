import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import type { CallOptions, Headers } from "./call-options.ts";
import { decodeAnswer } from "./message-bytes.ts";
import { sendAll } from "./requests.ts";
import type { Transport } from "./transport.ts";
import { WireStream } from "./wire-stream.ts";

/**
 * The answers of a stream. The call begins with the first of `started()` and iteration; before, it costs nothing. It is
 * cancelled at the server when iteration is left early, by the call's signal, and at the end of an `await using`. It is
 * read once: all iterators are the same one.
 *
 * @example
 * await using logs = client.orchestrator.streamContainerLogs({ containerId, stdout: true });
 * for await (const chunk of logs) process.stdout.write(chunk.data);
 */
export interface Answers<T> extends AsyncIterable<T>, AsyncDisposable {
  /** Waits for the response headers: the subscription is in force, and nothing after them is missed. */
  started(): Promise<Headers>;
}

/** The answers of a streaming call to `requests`. */
export class AnswerStream
  implements Answers<MessageShape<DescMessage>>, AsyncIterator<MessageShape<DescMessage>>
{
  readonly #wire: WireStream;
  readonly #method: DescMethod;
  readonly #requests: AsyncIterable<MessageInitShape<DescMessage>>;
  #opening: Promise<void> | undefined;
  #sending: Promise<void> | undefined;

  constructor(
    transport: Transport,
    method: DescMethod,
    call: { readonly requests: AsyncIterable<MessageInitShape<DescMessage>>; readonly options: CallOptions },
  ) {
    this.#wire = new WireStream(transport, method, call.options);
    this.#method = method;
    this.#requests = call.requests;
  }

  async started(): Promise<Headers> {
    await this.#open();
    return await this.#wire.headers;
  }

  async next(): Promise<IteratorResult<MessageShape<DescMessage>>> {
    await this.#open();
    const bytes = await this.#wire.read();
    if (bytes !== undefined) return { done: false, value: this.#decode(bytes) };
    await this.#sending;
    return DONE;
  }

  async return(): Promise<IteratorResult<MessageShape<DescMessage>>> {
    // Behind the last message comes the end; heard, it saves the connection for the next stream.
    if (!this.#wire.ended) await new Promise((resolve) => setImmediate(resolve));
    this.#wire.cancel(
      new Failure("cancelled", `Cannot read on in ${this.#method.name}: its reader has left`),
    );
    await this.#sending;
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #open(): Promise<void> {
    this.#opening ??= this.#begin();
    return this.#opening;
  }

  async #begin(): Promise<void> {
    await this.#wire.open();
    if (!this.#wire.ended) this.#sending = sendAll(this.#wire, this.#method, this.#requests);
  }

  #decode(bytes: Buffer): MessageShape<DescMessage> {
    try {
      return decodeAnswer(this.#method, bytes);
    } catch (error) {
      this.#wire.cancel(error);
      throw error;
    }
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };
