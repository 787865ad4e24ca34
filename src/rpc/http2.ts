import type {
  Http2Server,
  Http2Session,
  IncomingHttpHeaders,
  ServerHttp2Stream,
  ServerOptions,
} from "node:http2";
import type { Server, ServerInterceptingCallInterface } from "@grpc/grpc-js";

// All that reaches under grpc-js' public face, which hides HTTP/2 entirely, and under that of Bun's HTTP/2 is in this
// file. Nothing here is promised by either, whose versions are therefore pinned, and each reach checks what it finds.

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

/**
 * Makes deadlines that lie further away than a timer reaches (24.8 days) into ones of 20 days: grpc-js would let them
 * pass at once. Call it after `bindAsync`, before clients can connect.
 */
export function boundDeadlines(server: Server): void {
  for (const bound of http2Servers(server)) bound.prependListener("stream", boundDeadline);
}

function boundDeadline(_: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const timeout = headers["grpc-timeout"];
  if (typeof timeout === "string" && daysOf(timeout) > LONGEST_DAYS)
    headers["grpc-timeout"] = LONGEST_TIMEOUT;
}

const LONGEST_DAYS = 20;
const LONGEST_TIMEOUT = `${LONGEST_DAYS * 24}H`;

/** Smaller units can't name so long a time in the eight digits that gRPC allows. */
const SECONDS_IN: Readonly<Record<string, number>> = { H: 3_600, M: 60, S: 1 };

function daysOf(timeout: string): number {
  const seconds = SECONDS_IN[timeout.at(-1) ?? ""] ?? 0;
  return (Number.parseInt(timeout, 10) * seconds) / 86_400;
}

/** Bounds how many connections `server` has at once; further ones are closed. Call it when the server is bound. */
export function boundConnections(server: Server, most: number): void {
  for (const bound of http2Servers(server)) Object.assign(bound, { maxConnections: most });
}

/**
 * Lets the answers that end together leave in one write to their connection's socket. Bun makes a write for each stream
 * that ends, which costs more than all else that is done for a small answer. Call it after `bindAsync`, before clients
 * can connect.
 */
export function joinWrites(server: Server): void {
  for (const bound of http2Servers(server)) bound.on("session", joinWritesOf);
}

function joinWritesOf(connection: Http2Connection): void {
  const frames = framesOf(connection);
  if (frames === undefined) return;
  const write = frames.flush.bind(frames);
  let isDue = false;
  const writeNow = () => {
    isDue = false;
    if (!connection.destroyed) write();
  };
  frames.flush = () => {
    if (isDue) return;
    isDue = true;
    process.nextTick(writeNow); // the ends of the other streams are in that queue already
  };
}

/** Bun's own half of a connection, which keeps the frames that are not written yet. */
interface Frames {
  flush(): void;
}

/** Undefined in a Bun that keeps it elsewhere: then it writes as it likes. */
function framesOf(connection: Http2Connection): Frames | undefined {
  const kind: object = Object.getPrototypeOf(connection);
  const name = Object.getOwnPropertySymbols(kind).find(
    ({ description }) => description === "::bunhttp2native::",
  );
  const frames: unknown = name && Reflect.get(connection, name);
  if (typeof frames !== "object" || frames === null) return undefined;
  return typeof Reflect.get(frames, "flush") === "function" ? (frames as Frames) : undefined; // as was just seen
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

function http2Servers(server: Server): readonly Http2Server[] {
  const servers = field(server, "http2Servers");
  if (!(servers instanceof Map)) throw new Error("grpc-js keeps its HTTP/2 servers elsewhere");
  return [...servers.keys()]; // what grpc-js' Server declares the keys to be
}

function field(owner: object, name: string): unknown {
  return Reflect.get(owner, name);
}
