import type { Caller } from "../rpc/call.ts";
import type { Http2Connection } from "../rpc/http2.ts";
import { libc } from "./libc.ts";

/**
 * Says which process is at the other end of a Unix socket's connection, as the kernel noted it when it connected.
 * Ask while a call of the connection is being taken in: later its descriptor may be another connection's.
 */
export function peerOf(connection: Http2Connection | undefined): Caller {
  if (connection === undefined) return UNKNOWN;
  const known = CALLERS.get(connection);
  if (known !== undefined) return known;
  const caller = credentialsOf(connection);
  CALLERS.set(connection, caller);
  return caller;
}

const UNKNOWN: Caller = { actor: "unknown" };

/** Asking the kernel once a connection is enough: the answer can't change. */
const CALLERS = new WeakMap<Http2Connection, Caller>();

// From Linux' asm-generic/socket.h. macOS has no such option, and its callers stay unknown.
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

function credentialsOf(connection: Http2Connection): Caller {
  const fd = descriptorOf(connection);
  if (fd === undefined || process.platform !== "linux") return UNKNOWN;
  const credentials = new Int32Array(3);
  const size = new Uint32Array([credentials.byteLength]);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, size) !== 0) return UNKNOWN;
  const [pid, uid, gid] = credentials;
  // The kernel gives a connection without credentials, such as one over TCP, the uid -1.
  if (pid === undefined || uid === undefined || gid === undefined || uid < 0) return UNKNOWN;
  return { actor: `uid:${uid}`, process: { pid, uid, gid } };
}

/** Neither Node nor Bun makes a socket's descriptor public; both have it here. */
function descriptorOf(connection: Http2Connection): number | undefined {
  const handle: unknown = Reflect.get(connection.socket ?? {}, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}
