import type { Socket } from "node:net";
import type { Endpoint } from "./endpoint.ts";
import { HttpConnection } from "./http-connection.ts";

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** With its query. */
  readonly path: string;
  /** Sent as JSON, or piece by piece as a tar archive. */
  readonly body?: object | AsyncIterable<Uint8Array> | undefined;
}

/** By lower-case names. */
export type HttpHeaders = Readonly<Record<string, string>>;

/** An answer from its headers on. Its body is read once, as it comes, and holds the other end up by not being read. */
export interface HttpAnswer extends AsyncIterable<Buffer> {
  readonly status: number;
  readonly headers: HttpHeaders;
  /** Ends it: who reads gets `error`, or the end. */
  destroy(error?: unknown): void;
}

/** An answer that is no success, with its words. */
export class HttpRefusal extends Error {
  readonly status: number;
  constructor(status: number, words: string) {
    super(words);
    this.status = status;
  }
}

/** Connections that wait for their next request. Requests themselves are not limited: streams must not starve them. */
const MAX_IDLE = 16;

/** HTTP/1.1 as engines speak it, over connections that are used again. What goes wrong is thrown as it comes. */
export class HttpClient {
  readonly #endpoint: Endpoint;
  readonly #host: string;
  readonly #sockets = new Set<Socket>();
  #idle: HttpConnection[] = [];

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.#host = endpoint.kind === "unix" ? "localhost" : `${endpoint.host}:${endpoint.port}`;
  }

  /** Resolves with the head of a successful answer. The signal ends it until then. */
  async request(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const connection = this.#take();
    return await untilAnswered(connection, signal, async () => {
      const sending = this.#send(connection, request);
      const answer = await Promise.race([this.#answer(connection, request, sending), sending.failed]);
      if (!isSuccess(answer.status)) throw await refusal(answer);
      return answer;
    });
  }

  /** The same of a request that makes its connection a pipe of bytes both ways. */
  async upgrade(request: HttpRequest, signal: AbortSignal): Promise<Socket> {
    const connection = this.#take();
    return await untilAnswered(connection, signal, async () => {
      const sending = this.#send(connection, request, { connection: "Upgrade", upgrade: "tcp" });
      const answer = await this.#answer(connection, request, sending);
      // What is asked next finds a connection again, made while this one's command runs.
      if (this.#idle.length === 0) this.#giveBack(this.#open());
      // Engines that do not know of upgrades begin with the bytes at once.
      if (answer.status !== SWITCHED && answer.status !== OK) throw await refusal(answer);
      return connection.release();
    });
  }

  /** Closes all connections; what is under way ends. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #take(): HttpConnection {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.isFresh) {
        idle.socket.ref();
        return idle;
      }
      idle.destroy();
    }
    return this.#open();
  }

  #open(): HttpConnection {
    const connection = new HttpConnection(this.#endpoint);
    const { socket } = connection;
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#idle = this.#idle.filter((idle) => idle !== connection);
    });
    return connection;
  }

  #giveBack(connection: HttpConnection): void {
    if (!connection.isFresh || this.#idle.length >= MAX_IDLE) {
      connection.destroy();
      return;
    }
    connection.socket.unref();
    this.#idle.push(connection);
  }

  #send({ socket }: HttpConnection, { method, path, body }: HttpRequest, headers: HttpHeaders = {}): Sending {
    const lines = [`${method} ${path} HTTP/1.1`, `Host: ${this.#host}`];
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    const head = (...more: readonly string[]) => `${[...lines, ...more].join("\r\n")}\r\n\r\n`;
    if (body === undefined) {
      socket.write(head(...(method === "GET" || method === "HEAD" ? [] : ["Content-Length: 0"])));
    } else if (Symbol.asyncIterator in body) {
      socket.write(head("Content-Type: application/x-tar", "Transfer-Encoding: chunked"));
      return sendPieces(socket, body);
    } else {
      const json = JSON.stringify(body);
      const length = Buffer.byteLength(json);
      socket.write(`${head("Content-Type: application/json", `Content-Length: ${length}`)}${json}`);
    }
    return { isOver: () => true, failed: never };
  }

  async #answer(connection: HttpConnection, request: HttpRequest, sending: Sending): Promise<HttpAnswer> {
    for (;;) {
      const { status, headers } = readHead(await connection.until("\r\n\r\n"));
      if (status < OK && status !== SWITCHED) continue; // such as 100 Continue
      if (status === SWITCHED) return { status, headers, ...nobody };
      const length = bodyLength(request, status, headers);
      let isWhole = false;
      const whole = () => {
        isWhole = true; // from here on the connection may be another request's
        if (length === "until closed" || headers.connection === "close" || !sending.isOver())
          connection.destroy();
        else this.#giveBack(connection);
      };
      if (length === 0) whole();
      return {
        status,
        headers,
        [Symbol.asyncIterator]: () => bodyOf(connection, length, whole),
        destroy: (error) => {
          if (!isWhole) connection.destroy(error);
        },
      };
    }
  }
}

interface Sending {
  /** Whether all of the request is on its way. */
  readonly isOver: () => boolean;
  /** Rejects with what the body threw. */
  readonly failed: Promise<never>;
}

const nobody: Pick<HttpAnswer, "destroy" | typeof Symbol.asyncIterator> = {
  destroy: () => {},
  async *[Symbol.asyncIterator]() {},
};

const SWITCHED = 101;
const OK = 200;
const never = new Promise<never>(() => {});

/** 304: it is so already. */
function isSuccess(status: number): boolean {
  return (status >= OK && status < 300) || status === 304;
}

async function untilAnswered<T>(
  connection: HttpConnection,
  signal: AbortSignal,
  run: () => Promise<T>,
): Promise<T> {
  const onAbort = () => connection.destroy(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal.aborted) throw signal.reason;
    return await run();
  } catch (error) {
    // One that has answered to the end, if only that it refuses, can be used again.
    if (!(error instanceof HttpRefusal)) connection.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Sends a body in chunks, no faster than they are taken; until its connection is closed. */
function sendPieces(socket: Socket, body: AsyncIterable<Uint8Array>): Sending {
  let over = false;
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {}); // it is an answer that is waited for, which may have come before
  const send = async () => {
    let before = "";
    for await (const piece of body) {
      if (piece.length === 0) continue; // it would be the end
      socket.write(`${before}${piece.length.toString(16)}\r\n`);
      before = "\r\n";
      if (!socket.write(piece)) await drained(socket);
      if (socket.destroyed) return;
    }
    socket.write(`${before}0\r\n\r\n`);
    over = true;
  };
  send().catch(failed.reject);
  return { isOver: () => over, failed: failed.promise };
}

/** Resolves when the socket has room again, or is closed. */
export function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      socket.off("drain", settle);
      socket.off("close", settle);
      resolve();
    };
    socket.on("drain", settle);
    socket.on("close", settle);
    if (socket.destroyed) settle();
  });
}

function readHead(text: string): { readonly status: number; readonly headers: HttpHeaders } {
  const [first = "", ...lines] = text.split("\r\n");
  const status = Number(/^HTTP\/1\.[01] (\d{3})\b/.exec(first)?.[1] ?? Number.NaN);
  if (Number.isNaN(status)) throw new Error("its answer is not HTTP");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status, headers };
}

type BodyLength = number | "chunked" | "until closed";

function bodyLength({ method }: HttpRequest, status: number, headers: HttpHeaders): BodyLength {
  if (method === "HEAD" || status === 204 || status === 304) return 0;
  if (headers["transfer-encoding"]?.toLowerCase() === "chunked") return "chunked";
  const length = headers["content-length"];
  return length === undefined ? "until closed" : Number(length);
}

async function* bodyOf(
  connection: HttpConnection,
  length: BodyLength,
  whole: () => void,
): AsyncGenerator<Buffer, void, undefined> {
  if (length === 0) return;
  let isWhole = false;
  try {
    if (length === "chunked") yield* chunksOf(connection);
    else if (length === "until closed")
      for (let piece = await connection.read(); piece !== undefined; piece = await connection.read())
        yield piece;
    else yield* bytesOf(connection, length);
    isWhole = true;
  } finally {
    if (isWhole) whole();
    else connection.destroy();
  }
}

async function* bytesOf(connection: HttpConnection, length: number): AsyncGenerator<Buffer, void, undefined> {
  for (let left = length; left > 0; ) {
    const piece = await connection.more();
    const taken = piece.length > left ? piece.subarray(0, left) : piece;
    connection.putBack(piece.subarray(taken.length));
    left -= taken.length;
    yield taken;
  }
}

async function* chunksOf(connection: HttpConnection): AsyncGenerator<Buffer, void, undefined> {
  for (;;) {
    const size = Number.parseInt(await connection.until("\r\n"), 16);
    if (!(size >= 0)) throw new Error("its answer is not HTTP");
    if (size === 0) break;
    yield* bytesOf(connection, size);
    if ((await connection.until("\r\n")) !== "") throw new Error("its answer is not HTTP");
  }
  // What may follow the last chunk are headers that nobody asks for.
  while ((await connection.until("\r\n")) !== "");
}

/** The most that is read of a refusal's words, in bytes. */
const WORDS_BYTES = 1024 * 1024;

async function refusal(answer: HttpAnswer): Promise<HttpRefusal> {
  const text = await textOf(answer, WORDS_BYTES);
  return new HttpRefusal(answer.status, messageIn(text) ?? text);
}

/** A body as text, no more than `most` bytes of it. */
export async function textOf(answer: HttpAnswer, most = Number.POSITIVE_INFINITY): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > most) break;
  }
  return Buffer.concat(pieces).toString();
}

function messageIn(text: string): string | undefined {
  try {
    const said: unknown = JSON.parse(text);
    return typeof said === "object" && said !== null && "message" in said && typeof said.message === "string"
      ? said.message
      : undefined;
  } catch {
    return undefined;
  }
}
