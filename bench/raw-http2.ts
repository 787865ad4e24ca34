import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { connect as dial } from "node:net";

// gRPC with nothing around HTTP/2: as light as a client can be, so that what is measured is the server.

/** Connects to a socket; rejects when nobody serves on it. */
export async function connectRaw(socketPath: string): Promise<ClientHttp2Session> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const session = connect("http://localhost", { createConnection: () => dial(socketPath) });
  session.once("connect", () => resolve());
  session.on("error", reject);
  session.once("close", () => reject(new Error(`the connection to ${socketPath} was closed`)));
  await promise;
  return session;
}

/** Begins a call with one request; `request` as `framed` makes it. */
export function openCall(session: ClientHttp2Session, path: string, request: Buffer): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.end(request);
  return stream;
}

/** Makes a call that has one answer; resolves when the answer's bytes and an OK status have come. */
export function callRaw(session: ClientHttp2Session, path: string, request: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stream = openCall(session, path, request);
  let status: unknown;
  stream.on("data", () => {});
  stream.on("trailers", (trailers) => {
    status = trailers["grpc-status"];
  });
  stream.once("error", reject);
  stream.once("close", () => {
    if (String(status) === "0") resolve();
    else reject(new Error(`${path} ended with grpc-status ${String(status)}`));
  });
  return promise;
}
