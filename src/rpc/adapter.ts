import type { DescMethod, DescService } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { Failure } from "../failure.ts";
import { answerBidiStreaming } from "./bidi-streaming.ts";
import type { Call, Caller } from "./call.ts";
import { answerClientStreaming } from "./client-streaming.ts";
import { Departures } from "./departures.ts";
import type { Edge } from "./edge.ts";
import type {
  BidiStreamingHandler,
  ClientStreamingHandler,
  Handlers,
  ServerStreamingHandler,
  UnaryHandler,
} from "./handlers.ts";
import { type Http2Connection, type Http2Tuning, TRUSTED_CLIENTS, tuneHttp2 } from "./http2.ts";
import type { Answering, Method } from "./method.ts";
import { Nudges } from "./nudges.ts";
import { Patience } from "./patience.ts";
import { answerServerStreaming } from "./server-streaming.ts";
import { answerUnary } from "./unary.ts";

export interface RpcServerOptions {
  /** Told of what a handler threw that is not a Failure: a defect, to be logged with its stack. */
  readonly report: (defect: unknown, call: Call) => void;
  /** Says who is at the other end of a connection; asked once a call, when it comes in. */
  readonly callerOf?: (connection: Http2Connection | undefined) => Caller;
  /** How long a stream may wait for its client to read before it is ended. */
  readonly stalledAfterMs?: number;
  /** Of a request message. */
  readonly maxReceiveBytes?: number;
  /** Of an answer's message. */
  readonly maxSendBytes?: number;
  /** Of all clients together; a call over that is refused with RESOURCE_EXHAUSTED. */
  readonly maxCalls?: number;
  /** How often a connection is asked whether it still lives. */
  readonly keepaliveMs?: number;
  /** How long a connection may take to answer that, or to say its first word, before it is closed. */
  readonly keepaliveTimeoutMs?: number;
  /** Bounds on what one connection may do; without it those for a Unix socket that only its owner may open. */
  readonly http2?: Http2Tuning;
}

/** A gRPC server whose calls are answered by async functions and generators. */
export interface RpcServer {
  readonly grpc: grpc.Server;
  readonly methods: Map<string, Answering>;
  readonly edge: Edge;
}

/** Makes a server that serves nothing yet and listens nowhere yet. */
export function createServer(options: RpcServerOptions): RpcServer {
  const maxSendBytes = options.maxSendBytes ?? MAX_MESSAGE_BYTES;
  const methods = new Map<string, Answering>();
  const server = new grpc.Server({
    interceptors: [(definition, wire) => new AnsweredCall(wire, methods.get(definition.path))],
    "grpc.max_receive_message_length": options.maxReceiveBytes ?? MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": maxSendBytes,
    "grpc.enable_channelz": 0, // books on every call and connection that nothing here reads
    "grpc.keepalive_time_ms": options.keepaliveMs ?? KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs ?? KEEPALIVE_TIMEOUT_MS,
  });
  tuneHttp2(server, options.http2 ?? TRUSTED_CLIENTS);
  return {
    grpc: server,
    methods,
    edge: {
      report: options.report,
      callerOf: options.callerOf ?? (() => UNKNOWN_CALLER),
      maxSendBytes,
      patience: new Patience(options.stalledAfterMs ?? STALLED_AFTER_MS),
      nudges: new Nudges(),
      departures: new Departures(),
      inProgress: 0,
      maxInProgress: options.maxCalls ?? MAX_CALLS,
      open: new Set(),
      stopped: undefined,
    },
  };
}

/**
 * Serves `service` under its full name and each of `aliases`. Methods without a handler answer UNIMPLEMENTED.
 *
 * @example
 * addService(server, HealthService, { check: async (request) => ({ status: "…" }) });
 */
export function addService<S extends DescService>(
  server: RpcServer,
  service: S,
  handlers: Handlers<S>,
  aliases: readonly string[] = [],
): void {
  for (const serviceName of [service.typeName, ...aliases]) {
    for (const description of service.methods) {
      const method: Method = {
        name: `${serviceName}/${description.name}`,
        input: description.input,
        output: description.output,
        edge: server.edge,
      };
      // The keys of Handlers are the local names of the service's methods.
      const handler: unknown = Reflect.get(handlers, description.localName);
      const path = `/${method.name}`;
      server.methods.set(path, answering(method, description, handler ?? unimplemented(method)));
      if (!server.grpc.register(path, unreachable, asItIs, asItIs, "bidi")) {
        throw new Error(`${method.name} is served already`);
      }
    }
  }
}

/** Tells every open call that the server stops, and refuses new ones. */
export function stopCalls(server: RpcServer): void {
  const reason = stopping();
  server.edge.stopped = reason;
  for (const call of server.edge.open) call.abort(reason);
}

/** Ends the calls whose handlers have not ended them by themselves since `stopCalls`. */
export function endCalls(server: RpcServer): void {
  for (const call of server.edge.open) call.fail(stopping());
}

/** Of a message, both ways. */
const MAX_MESSAGE_BYTES = 100 * 1024 * 1024;

const MAX_CALLS = 10_000;

const STALLED_AFTER_MS = 30_000;

const KEEPALIVE_MS = 5_000;

const KEEPALIVE_TIMEOUT_MS = 30_000;

const UNKNOWN_CALLER: Caller = { actor: "unknown" };

/** A call that is answered by the adapter in place of grpc-js' own handling, which would copy and queue each message. */
class AnsweredCall extends grpc.ServerInterceptingCall {
  readonly #wire: grpc.ServerInterceptingCallInterface;
  readonly #answering: Answering | undefined;

  constructor(wire: grpc.ServerInterceptingCallInterface, answering: Answering | undefined) {
    super(wire);
    this.#wire = wire;
    this.#answering = answering;
  }

  override start(listener: Parameters<grpc.ServerInterceptingCall["start"]>[0]): void {
    if (this.#answering === undefined) {
      super.start(listener);
      return;
    }
    try {
      this.#answering(this.#wire);
    } catch (error) {
      // There is no call yet to report it with, and nothing above catches it.
      process.emitWarning(error instanceof Error ? error : String(error));
      const details = "Cannot begin the call: the server has a defect, which its standard error tells of";
      this.#wire.sendStatus({ code: grpc.status.INTERNAL, details });
    }
  }
}

function answering(method: Method, description: DescMethod, handler: unknown): Answering {
  // Handlers<S> gives each method a handler of its kind, which the loop over the methods can't express.
  switch (description.methodKind) {
    case "unary":
      return answerUnary(method, handler as UnaryHandler); // of this kind, see above
    case "server_streaming":
      return answerServerStreaming(method, handler as ServerStreamingHandler); // of this kind, see above
    case "client_streaming":
      return answerClientStreaming(method, handler as ClientStreamingHandler); // of this kind, see above
    case "bidi_streaming":
      return answerBidiStreaming(method, handler as BidiStreamingHandler); // of this kind, see above
  }
}

/** Throws before it would return anything, so it can stand for a handler of every kind. */
function unimplemented(method: Method): () => never {
  return () => {
    throw new Failure("unimplemented", `Cannot call ${method.name}: this version does not serve it yet`);
  };
}

function stopping(): Failure {
  return new Failure("unavailable", "Cannot go on with the call: the server is shutting down", {
    reason: "SHUTTING_DOWN",
  });
}

function asItIs(bytes: Buffer): Buffer {
  return bytes;
}

function unreachable(): void {
  throw new Error("the interceptor answers every registered method");
}
