import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Endpoint } from "./endpoint.ts";

/** How much of an answer may wait for its reader before the connection is not read any more, in bytes. */
const AHEAD_BYTES = 512 * 1024;

/** What an answer may have before its body, and a line within it, in bytes. Node's own bound is 16 KiB. */
const HEAD_BYTES = 256 * 1024;

/** A connection to an engine: what arrives, piece by piece, as fast as it is read. */
export class HttpConnection {
  readonly socket: Socket;
  #arrived: Buffer[] = [];
  #arrivedBytes = 0;
  #paused = false;
  #over: "open" | "ended" | { readonly error: unknown } = "open";
  #wake: (() => void) | undefined;

  constructor(endpoint: Endpoint) {
    this.socket = open(endpoint);
    this.socket.on("data", this.#take);
    this.socket.on("end", this.#end);
    // Who has taken the socket over hears of its errors there; without this, an error while nobody reads ends the process.
    this.socket.on("error", this.#break);
    this.socket.on("close", this.#end);
  }

  /** Whether it can be used once more. */
  get isFresh(): boolean {
    return this.#over === "open" && this.#arrived.length === 0;
  }

  /** The next piece; undefined when the other end has closed it. Throws when it broke. */
  async read(): Promise<Buffer | undefined> {
    for (;;) {
      const piece = this.#arrived.shift();
      if (piece !== undefined) {
        this.#arrivedBytes -= piece.length;
        return piece;
      }
      if (this.#over === "ended") return undefined;
      if (this.#over !== "open") throw this.#over.error;
      if (this.#paused) {
        this.#paused = false;
        this.socket.resume();
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The same, where the other end may not close it yet. */
  async more(): Promise<Buffer> {
    return (await this.read()) ?? Promise.reject(hungUp());
  }

  /** Up to `mark`, without it. */
  async until(mark: string): Promise<string> {
    let bytes = await this.more();
    for (;;) {
      const end = bytes.indexOf(mark, 0, "latin1");
      if (end >= 0) {
        this.putBack(bytes.subarray(end + mark.length));
        return bytes.toString("latin1", 0, end);
      }
      if (bytes.length > HEAD_BYTES) throw new Error("its answer is not HTTP");
      bytes = Buffer.concat([bytes, await this.more()]);
    }
  }

  putBack(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#arrived.unshift(bytes);
    this.#arrivedBytes += bytes.length;
  }

  /** The socket alone, for who goes on with it; what has arrived is the first that it reads. */
  release(): Socket {
    const { socket } = this;
    socket.pause();
    socket.off("data", this.#take);
    socket.off("end", this.#end);
    for (const bytes of this.#arrived.splice(0).reverse()) socket.unshift(bytes);
    return socket;
  }

  /** Closes it; who reads gets `error`, or the end. */
  destroy(error?: unknown): void {
    if (this.#over === "open") this.#over = error === undefined ? "ended" : { error };
    this.#arrived = [];
    this.socket.destroy();
    this.#wake?.();
  }

  readonly #take = (bytes: Buffer): void => {
    this.#arrived.push(bytes);
    this.#arrivedBytes += bytes.length;
    if (this.#arrivedBytes >= AHEAD_BYTES) {
      this.#paused = true;
      this.socket.pause();
    }
    this.#wake?.();
  };

  readonly #end = (): void => {
    if (this.#over === "open") this.#over = "ended";
    this.#wake?.();
  };

  readonly #break = (error: unknown): void => {
    if (this.#over === "open") this.#over = { error };
    this.#wake?.();
  };
}

/** What is thrown when the other end closes a connection too early. */
function hungUp(): Error {
  return Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" });
}

function open(endpoint: Endpoint): Socket {
  if (endpoint.kind === "unix") return connect(endpoint.socketPath);
  const { host, port, tls } = endpoint;
  if (tls === undefined) return connect(port, host);
  const { verify, ...keys } = tls;
  const name = isIP(host) === 0 ? { servername: host } : {};
  return connectTls({ host, port, ...keys, ...name, rejectUnauthorized: verify });
}
