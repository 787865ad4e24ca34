import { resolve } from "node:path";
import { invalid } from "../failure.ts";

/** Where a server listens. */
export type Address =
  | { readonly kind: "unix"; readonly path: string; readonly text: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly text: string };

/**
 * The address that `text` names: `unix:///run/baaaht.sock`, `unix:baaaht.sock`, the path of a socket (with a slash in
 * it), `localhost:9000` or `[::1]:9000`.
 *
 * Failures: INVALID_ARGUMENT when it is none of these, or a path longer than the system takes.
 */
export function parseAddress(text: string): Address {
  if (text.startsWith("unix:")) return unixAddress(text.replace(/^unix:(?:\/\/(?=\/))?/, ""));
  if (text.includes("/")) return unixAddress(text);
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  const port = Number(parts?.[3]);
  if (host === undefined || port < 1 || port > 65_535) {
    throw refused(text, "is neither unix:///path/of.sock, nor the path of a socket, nor host:port");
  }
  return { kind: "tcp", host, port, text };
}

/** What the kernel takes as the path of a socket, in bytes. */
const MAX_PATH_BYTES = 107;

function unixAddress(given: string): Address {
  if (given === "") throw refused("unix:", "names no path");
  const path = resolve(given);
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw refused(path, `is a path of ${bytes} bytes, and that of a socket may have ${MAX_PATH_BYTES}`);
  }
  return { kind: "unix", path, text: `unix://${path}` };
}

function refused(text: string, why: string) {
  return invalid("connect", [{ field: `address "${text}"`, description: why }]);
}
