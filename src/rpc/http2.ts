import type { Http2Session, ServerHttp2Stream, ServerOptions } from "node:http2";
import type { Server, ServerInterceptingCallInterface } from "@grpc/grpc-js";

// All that reaches under grpc-js' public face, which hides HTTP/2 entirely, is in this file. Nothing here is
// promised by grpc-js, whose version is therefore pinned, and each reach checks what it finds.

/** A connection, the same object for all calls that come over it. */
export type Http2Connection = Http2Session;

/** Options of HTTP/2 that Bun has beyond those of Node's types. */
export interface Http2Tuning extends ServerOptions {
  /** How many streams a client may cancel at once before its connection is closed. */
  readonly streamResetBurst?: number;
  /** How many more it may cancel each second. */
  readonly streamResetRate?: number;
}

/**
 * For clients that may be trusted not to attack, such as those of a Unix socket that only its owner may open. Bun's
 * own bounds, about 1,000 cancels and 33 more a second, cost a connection with many short watches all its calls.
 */
export const TRUSTED_CLIENTS: Http2Tuning = { streamResetBurst: 100_000, streamResetRate: 10_000 };

/** Adds `tuning` to what `server` gives to each HTTP/2 server that it makes; call it before `bindAsync`. */
export function tuneHttp2(server: Server, tuning: Http2Tuning): void {
  const options = field(server, "commonServerOptions");
  if (typeof options !== "object" || options === null)
    throw new Error("grpc-js keeps its HTTP/2 options elsewhere");
  Object.assign(options, tuning);
}

/** The connection that a call came over; undefined when it is closed already. */
export function connectionOf(wire: ServerInterceptingCallInterface): Http2Connection | undefined {
  return streamOf(wire).session;
}

/** Throws away what a call's stream still has to send and resets it; the client sees RESOURCE_EXHAUSTED. */
export function discardStream(wire: ServerInterceptingCallInterface): void {
  streamOf(wire).close(ENHANCE_YOUR_CALM);
}

/** Resets a call's stream that has been answered, and whose client goes on sending nevertheless. */
export function closeStream(wire: ServerInterceptingCallInterface): void {
  streamOf(wire).close(NO_ERROR);
}

/** Whether nothing of a call's stream is held any more. */
export function isClosed(wire: ServerInterceptingCallInterface): boolean {
  return streamOf(wire).closed;
}

const NO_ERROR = 0;

/** The HTTP/2 error code that gRPC's clients translate into RESOURCE_EXHAUSTED. */
const ENHANCE_YOUR_CALM = 11;

function streamOf(wire: ServerInterceptingCallInterface): ServerHttp2Stream {
  const stream = field(wire, "stream");
  if (typeof stream !== "object" || stream === null)
    throw new Error("grpc-js keeps a call's stream elsewhere");
  return stream as ServerHttp2Stream; // what BaseServerInterceptingCall declares it to be
}

function field(owner: object, name: string): unknown {
  return Reflect.get(owner, name);
}
