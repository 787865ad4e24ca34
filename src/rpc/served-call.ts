import { Metadata, type ServerInterceptingCallInterface, status } from "@grpc/grpc-js";
import { Failure } from "../failure.ts";
import type { Call, Caller } from "./call.ts";
import { CORRELATION_HEADER, correlationIdOf } from "./correlation.ts";
import type { Abortable, Edge } from "./edge.ts";
import { closeStream, connectionOf, discardStream, type Http2Connection, isClosed } from "./http2.ts";
import type { Method } from "./method.ts";
import type { Waiting } from "./patience.ts";
import { statusOf } from "./status.ts";

/** One call from its first byte to its status, whatever its kind. What most calls never ask for is made when asked for. */
export class ServedCall implements Call, Abortable, Waiting {
  readonly method: string;
  readonly caller: Caller;
  /** Undefined when it was gone before the call came in. */
  readonly connection: Http2Connection | undefined;
  onStalled: (() => Failure) | undefined;
  /** Whether the client has said that it sends no more. */
  halfClosed = false;

  readonly #wire: ServerInterceptingCallInterface;
  readonly #edge: Edge;
  readonly #received: Metadata;
  #correlationId: string | undefined;
  #metadata: ReadonlyMap<string, string> | undefined;
  #controller: AbortController | undefined;
  #aborted: Failure | undefined;
  #trailers: Metadata | undefined;
  #whenAborted: ((reason: Failure) => void)[] | undefined;
  #opened = false;
  #ended = false;

  constructor(wire: ServerInterceptingCallInterface, method: Method, received: Metadata) {
    this.method = method.name;
    this.#wire = wire;
    this.#edge = method.edge;
    this.#received = received;
    // Now, while the connection is certainly there to be asked.
    this.connection = connectionOf(wire);
    this.caller = method.edge.callerOf(this.connection);
    this.#edge.inProgress += 1;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted);
      else this.watch();
    }
    return this.#controller.signal;
  }

  get correlationId(): string {
    this.#correlationId ??= correlationIdOf(this.#received);
    return this.#correlationId;
  }

  get deadline(): number | undefined {
    const deadline = Number(this.#wire.getDeadline());
    return Number.isFinite(deadline) ? deadline : undefined;
  }

  get metadata(): ReadonlyMap<string, string> {
    this.#metadata ??= textMetadata(this.#received);
    return this.#metadata;
  }

  /** Whether the call has its status, or nobody is there any more to be given one. */
  get ended(): boolean {
    return this.#ended;
  }

  open(headers: Readonly<Record<string, string>> = {}): void {
    if (this.#opened || this.#ended) return;
    this.#opened = true;
    const sent = new Metadata();
    for (const name in headers) sent.set(name, headers[name] ?? "");
    sent.set(CORRELATION_HEADER, this.correlationId);
    this.#wire.sendMetadata(sent);
  }

  trailer(name: string, value: string): void {
    this.#trailers ??= new Metadata();
    this.#trailers.set(name, value);
  }

  /** Calls `tell` when the call is aborted; at once when it has been. */
  whenAborted(tell: (reason: Failure) => void): void {
    if (this.#aborted !== undefined) {
      tell(this.#aborted);
      return;
    }
    this.#whenAborted ??= [];
    this.#whenAborted.push(tell);
  }

  /** Throws when the server is stopping, or has as many calls as it may, so that no new work begins. */
  admit(): void {
    if (this.#edge.stopped !== undefined) throw this.#edge.stopped;
    if (this.#edge.inProgress > this.#edge.maxInProgress)
      throw tooManyCalls(this.method, this.#edge.maxInProgress);
  }

  /** Wants to be aborted when the server stops. */
  watch(): void {
    if (!this.#ended) this.#edge.open.add(this);
  }

  /** Sends a message, with the headers before the first; `sent` is called when it is on its way. */
  send(bytes: Buffer, sent: () => void): void {
    this.open();
    this.#wire.sendMessage(bytes, sent);
  }

  /** Ends the call as the handler meant it to end. */
  succeed(): void {
    if (!this.#end()) return;
    this.#sendStatus({ code: status.OK, details: "", metadata: this.#trailers ?? null });
  }

  /** Ends the call with what was thrown; a defect is reported, also when nobody waits for the answer any more. */
  fail(error: unknown): void {
    const failure = Failure.from(error) ?? this.#abortedBy(error) ?? this.#defect(error);
    if (!this.#end()) return;
    const { code, details, metadata } = statusOf(failure, this.correlationId);
    if (this.#trailers !== undefined) metadata.merge(this.#trailers);
    // Without headers before it, the status is all that the client gets.
    if (!this.#opened) metadata.set(CORRELATION_HEADER, this.correlationId);
    this.#sendStatus({ code, details, metadata });
  }

  /** Tells the handler to stop; it may still answer, or be ended by `fail`. */
  abort(reason: Failure): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = reason;
    this.#controller?.abort(reason);
    for (const tell of this.#whenAborted ?? []) tell(reason);
  }

  /** HTTP/2 has closed the call's stream: the status is sent, the deadline has passed, or the client is gone. */
  close(): void {
    this.#edge.patience.end(this);
    if (!this.#end()) {
      if (!this.halfClosed && !isClosed(this.#wire)) this.#edge.patience.begin(new HalfOpen(this.#wire));
      return;
    }
    const late = Date.now() + TIMER_EARLY_MS >= Number(this.#wire.getDeadline());
    this.abort(
      late
        ? new Failure("deadline_exceeded", `Cannot finish ${this.method}: its deadline has passed`)
        : new Failure("cancelled", `Cannot finish ${this.method}: the client cancelled it`),
    );
  }

  /** Throws away what the client has not read, its status too. */
  expire(): void {
    discardStream(this.#wire);
  }

  /** Never throws: it is called where nobody could catch it. */
  #sendStatus(end: Parameters<ServerInterceptingCallInterface["sendStatus"]>[0]): void {
    this.#edge.patience.begin(this);
    try {
      this.#wire.sendStatus(end);
    } catch {
      // The stream broke in this very moment; there is nobody left to be told.
      this.#edge.patience.end(this);
    }
  }

  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#edge.inProgress -= 1;
    this.#edge.open.delete(this);
    return true;
  }

  /** Waits that were given the signal throw AbortErrors of their own when it is aborted. */
  #abortedBy(error: unknown): Failure | undefined {
    return error instanceof Error && error.name === "AbortError" ? this.#aborted : undefined;
  }

  #defect(error: unknown): Failure {
    try {
      this.#edge.report(error, this);
    } catch {
      // A log that can't be written must not cost the client its answer.
    }
    return new Failure(
      "internal",
      `Cannot finish ${this.method}: the server has a defect; its log says more under correlation id ${this.correlationId}`,
      { reason: "DEFECT" },
    );
  }
}

function tooManyCalls(method: string, most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot call ${method}: ${most} calls are in progress, which is the most`,
    {
      reason: "TOO_MANY_CALLS",
      retryAfterMs: 1_000,
    },
  );
}

/** A timer may be called a little before its time by the wall clock. */
const TIMER_EARLY_MS = 2;

/** A stream that has its status, and that the client has neither half-closed nor closed. */
class HalfOpen implements Waiting {
  readonly #wire: ServerInterceptingCallInterface;

  constructor(wire: ServerInterceptingCallInterface) {
    this.#wire = wire;
  }

  expire(): void {
    if (!isClosed(this.#wire)) closeStream(this.#wire);
  }
}

function textMetadata(metadata: Metadata): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [name, values] of Object.entries(metadata.toHttp2Headers())) {
    if (!name.endsWith("-bin")) texts.set(name, [values].flat().join(","));
  }
  return texts;
}
