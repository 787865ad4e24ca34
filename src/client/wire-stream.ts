import type { DescMethod } from "@bufbuild/protobuf";
import { type ChannelInterface, status } from "@grpc/grpc-js";
import { abortFailure } from "../failure.ts";
import type { CallOptions, Headers } from "./call-options.ts";
import type { Connection } from "./connection.ts";
import { headersOf } from "./headers.ts";
import { pathOf } from "./message-bytes.ts";
import { failureOf } from "./status-failure.ts";
import type { Cancellable, Transport } from "./transport.ts";

/** One streaming call over a connection of its own: bytes out as the server takes them, bytes in as they are read. */
export class WireStream implements Cancellable {
  /** The response headers; rejects when the call ends before them. */
  readonly headers: Promise<Headers>;
  /** Told once, when the call has ended. */
  onEnd: (() => void) | undefined;

  readonly #transport: Transport;
  readonly #method: DescMethod;
  readonly #options: CallOptions;
  readonly #headers = Promise.withResolvers<Headers>();
  readonly #abort = () => this.cancel(this.#options.signal && abortFailure(this.#options.signal));
  readonly #unread: Buffer[] = [];
  #unreadBytes = 0;
  readonly #readers: PromiseWithResolvers<Buffer | undefined>[] = [];
  readonly #writers = new Set<() => void>();
  #connection: Connection | undefined;
  #call: ReturnType<ChannelInterface["createCall"]> | undefined;
  #asking = false;
  #end: { readonly error: unknown } | "open" | "well" = "open";

  constructor(transport: Transport, method: DescMethod, options: CallOptions) {
    this.#transport = transport;
    this.#method = method;
    this.#options = options;
    this.headers = this.#headers.promise;
    this.headers.catch(() => {}); // whoever does not wait for the headers learns of the failure by reading
  }

  get ended(): boolean {
    return this.#end !== "open";
  }

  /** Connects and begins the call; its failure is also what `read` and `headers` give. */
  async open(): Promise<void> {
    if (this.ended) return;
    try {
      const timeoutMs = this.#transport.timeoutMs(this.#method, this.#options);
      const deadline = Date.now() + timeoutMs;
      this.#transport.enter(this);
      this.#options.signal?.addEventListener("abort", this.#abort, { once: true });
      if (this.#options.signal?.aborted) throw abortFailure(this.#options.signal);
      this.#connection = this.#transport.dial();
      await this.#transport.up(this.#connection, { deadline, options: this.#options });
      if (!this.ended) this.#start(this.#connection, { deadline, timeoutMs });
    } catch (error) {
      this.#finish({ error });
    }
  }

  /** The next message, or `undefined` behind the last. */
  async read(): Promise<Buffer | undefined> {
    const bytes = this.#unread.shift();
    if (bytes !== undefined) {
      this.#unreadBytes -= bytes.byteLength;
      this.#ask();
      return bytes;
    }
    if (this.#end === "well") return undefined;
    if (this.#end !== "open") throw this.#end.error;
    const reader = Promise.withResolvers<Buffer | undefined>();
    this.#readers.push(reader);
    return await reader.promise;
  }

  /** Returns when the message is on its way, or the call has ended. */
  write(bytes: Buffer): Promise<void> {
    if (this.ended) return Promise.resolve();
    return new Promise((resolve) => {
      const written = () => {
        this.#writers.delete(written);
        resolve();
      };
      this.#writers.add(written);
      this.#call?.sendMessageWithContext({ callback: written }, bytes);
    });
  }

  /** Tells the server that there are no more messages. */
  halfClose(): void {
    if (!this.ended) this.#call?.halfClose();
  }

  /** Ends the call here and at the server; readers get `reason`. What was received and not read is dropped. */
  cancel(reason: unknown): void {
    if (this.ended) return;
    this.#unread.length = 0;
    this.#call?.cancelWithStatus(status.CANCELLED, "the client cancelled the call");
    this.#finish({ error: reason });
  }

  /** `timeoutMs` is the call's as it was asked for, of which a part may have passed before there was a connection. */
  #start(connection: Connection, { deadline, timeoutMs }: { deadline: number; timeoutMs: number }): void {
    this.#call = connection.channel.createCall(pathOf(this.#method), deadline, null, null, null);
    this.#call.start(this.#transport.metadata(this.#options), {
      onReceiveMetadata: (metadata) => {
        const headers = headersOf(metadata);
        this.#headers.resolve(headers);
        this.#options.onHeaders?.(headers);
      },
      onReceiveMessage: (message: Buffer) => this.#receive(message),
      onReceiveStatus: (end) => {
        if (this.ended) return;
        const trailers = headersOf(end.metadata);
        this.#options.onTrailers?.(trailers);
        if (end.code === status.OK) this.#headers.resolve(trailers);
        const asked = { method: this.#method.name, address: this.#transport.address, timeoutMs };
        this.#finish(end.code === status.OK ? "well" : { error: failureOf(end, asked) });
      },
    });
    this.#ask(); // at once: what arrives before the first request for a message is buffered without a bound
  }

  #receive(message: Buffer): void {
    this.#asking = false;
    if (this.ended) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve(message);
    } else {
      this.#unread.push(message);
      this.#unreadBytes += message.byteLength;
    }
    this.#ask();
  }

  #ask(): void {
    if (this.#asking || this.ended) return;
    if (this.#unread.length >= AHEAD_MESSAGES || this.#unreadBytes >= AHEAD_BYTES) return;
    this.#asking = true;
    this.#call?.startRead();
  }

  #finish(end: "well" | { readonly error: unknown }): void {
    if (this.ended) return;
    this.#end = end;
    this.#transport.leave(this);
    this.#options.signal?.removeEventListener("abort", this.#abort);
    if (end === "well" && this.#connection !== undefined) this.#transport.giveBack(this.#connection);
    else this.#connection?.[Symbol.dispose]();
    for (const written of this.#writers) written();
    for (const reader of this.#readers.splice(0)) {
      if (end === "well") reader.resolve(undefined);
      else reader.reject(end.error);
    }
    if (end !== "well") this.#headers.reject(end.error);
    this.onEnd?.();
  }
}

/** What is received before somebody asks for it: enough that a fast stream does not wait for each of its messages. */
const AHEAD_MESSAGES = 16;
const AHEAD_BYTES = 64 * 1024;
