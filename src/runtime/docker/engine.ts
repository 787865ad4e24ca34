import { Agent, type IncomingMessage } from "node:http";
import { Agent as TlsAgent } from "node:https";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { inspect } from "node:util";
import Docker from "dockerode";
import type { ZodType } from "zod";
import { abortFailure, Failure } from "../../failure.ts";
import { type Dialect, DOCKER, dialectOf } from "./dialect.ts";
import type { Endpoint } from "./endpoint.ts";
import { ExecStarts } from "./exec-starts.ts";
import { engineFailure, type RefusalKinds, unreachable } from "./failures.ts";

/** One request to the engine. */
export interface EngineRequest {
  /** For the message of a Failure: `start container "4f1c…"`. */
  readonly doing: string;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Without a version: the engine's newest is what it speaks best. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly body?: object;
  /** How long it may take altogether, in milliseconds; an engine that answers no ping is noticed much earlier. */
  readonly boundMs?: number;
  /** What a refusal means where that is not the usual. */
  readonly kinds?: RefusalKinds;
}

/** How long a call may be silent before the engine is asked whether it lives, and how long that may take; milliseconds. */
const SILENCE_MS = 2_000;
const PING_MS = 2_500;
/** Bound of a call that says nothing else, in milliseconds: a loaded engine takes seconds, a broken one for ever. */
const CALL_MS = 120_000;

/** Connections that wait for their next call. Calls themselves are not limited: streams must not starve them. */
const IDLE_SOCKETS = 16;

/**
 * The way to one engine: dockerode's modem with what it lacks. Every request ends by its signal, by its bound, or when the
 * engine no longer answers pings, and fails with a Failure that says what was being done.
 */
export class Engine {
  readonly execStarts = new ExecStarts();
  readonly #find: () => Endpoint;
  #endpoint: Endpoint;
  #hasAnswered = false;
  #modem: Modem;
  #agent: Agent;
  readonly #open = new Set<IncomingMessage | Socket>();
  #pinging: Promise<Silence | undefined> | undefined;
  #dialect: Dialect | undefined;

  /** `find` is asked again when its endpoint is gone: an engine that starts later may listen at another usual place. */
  constructor(find: () => Endpoint) {
    this.#find = find;
    this.#endpoint = find();
    this.#agent = openAgent(this.#endpoint);
    this.#modem = openModem(this.#endpoint, this.#agent);
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  /** How this engine speaks. It is asked before the first call, and again when it was gone: another may have its place. */
  async dialect(doing: string, signal: AbortSignal): Promise<Dialect> {
    if (this.#dialect !== undefined) return this.#dialect;
    const request = { doing, method: "GET", path: "/_ping" } as const;
    try {
      const { headers } = await this.#bounded(request, signal, (own) => this.#whole(request, own), DOCKER);
      this.#dialect = dialectOf(headers, this.#endpoint);
      return this.#dialect;
    } catch (error) {
      if (!(error instanceof Failure && error.kind === "not_found")) throw error;
      return DOCKER; // it does not know pings: something that stands in for an engine
    }
  }

  /** A call and its whole answer, as `schema` reads it. */
  async call<Answer>(request: EngineRequest, schema: ZodType<Answer>, signal: AbortSignal): Promise<Answer> {
    const { body } = await this.#spoken(request, signal, (own) => this.#whole(request, own));
    const read = schema.safeParse(body);
    if (read.success) return read.data;
    const [issue] = read.error.issues;
    const why = `it answered in a form that is not known: ${issue?.path.join(".")}: ${issue?.message}`;
    throw unreachable(this.#at(request), why, read.error);
  }

  /** A call of which only the success matters. */
  async act(request: EngineRequest, signal: AbortSignal): Promise<void> {
    await this.#spoken(request, signal, (own) => this.#whole(request, own));
  }

  /** A call that sends a stream, as fast as the engine takes it. What `body` throws is what the call fails with. */
  async send(request: EngineRequest, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const dialect = await this.dialect(request.doing, signal);
    const run = async (own: AbortSignal) => {
      const file = Readable.from(body, { objectMode: false });
      // The modem hears of its errors while it sends; they are no end of the process after that.
      file.on("error", () => {});
      try {
        await this.#dialOnce(request, { file }, own);
      } finally {
        file.destroy();
      }
    };
    await this.#bounded(request, signal, run, dialect);
  }

  /** A call whose answer is a stream, from its headers on. The signal destroys it. */
  async stream(request: EngineRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const how = { isStream: true };
    const answer = await this.#spoken(request, signal, (own) => this.#dial(request, how, own));
    // as: with isStream the modem answers with the response itself
    return this.#hold(answer as IncomingMessage, signal);
  }

  /** A call that turns its connection into a pipe of bytes both ways. The signal destroys it. */
  async hijack(request: EngineRequest, signal: AbortSignal): Promise<Socket> {
    const how = { isStream: true, hijack: true, openStdin: true };
    const answer = await this.#spoken(request, signal, (own) => this.#dial(request, how, own));
    // as: with hijack the modem answers with the socket itself
    return this.#hold(answer as Socket, signal);
  }

  /** Undefined when the engine lives, else why it can't be used. Callers at the same time share one ping. */
  async ping(doing: string): Promise<Failure | undefined> {
    this.#pinging ??= this.#ping().finally(() => {
      this.#pinging = undefined;
    });
    const silence = await this.#pinging;
    if (silence === undefined) return undefined;
    return silence.error === undefined
      ? unreachable(
          { doing, endpoint: this.endpoint.name },
          `it has not answered a ping for ${PING_MS / 1000} s`,
        )
      : engineFailure(silence.error, { doing, endpoint: this.endpoint.name });
  }

  /** Gives back all connections; streams that are open end. */
  close(): void {
    for (const stream of this.#open) stream.destroy();
    this.#agent.destroy();
  }

  async #ping(): Promise<Silence | undefined> {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), PING_MS);
    try {
      await this.#whole({ doing: "ping", method: "GET", path: "/_ping" }, patience.signal);
      return undefined;
    } catch (error) {
      return patience.signal.aborted ? {} : { error };
    } finally {
      clearTimeout(timer);
    }
  }

  /** A request whose refusal is understood in the engine's dialect. */
  async #spoken<T>(
    request: EngineRequest,
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const dialect = await this.dialect(request.doing, signal);
    return await this.#bounded(request, signal, run, dialect);
  }

  async #bounded<T>(
    request: EngineRequest,
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
    { refusals }: Dialect,
  ): Promise<T> {
    if (signal.aborted) throw abortFailure(signal);
    const own = new AbortController();
    let silent: Failure | undefined;
    const onAbort = (): void => own.abort();
    signal.addEventListener("abort", onAbort, { once: true });
    const stopWatching = this.#watchSilence(request, (failure) => {
      silent = failure;
      own.abort();
    });
    try {
      return await run(own.signal);
    } catch (error) {
      if (signal.aborted) throw abortFailure(signal);
      throw silent ?? engineFailure(error, this.#at(request), { ...request, refusals });
    } finally {
      stopWatching();
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Asks a silent engine again and again whether it lives. Returns what ends that. */
  #watchSilence(request: EngineRequest, tell: (failure: Failure) => void): () => void {
    const boundMs = request.boundMs ?? CALL_MS;
    const startedAt = performance.now();
    let over = false;
    const check = async (): Promise<void> => {
      const dead = await this.ping(request.doing);
      if (over) return;
      if (dead !== undefined) return tell(dead);
      if (performance.now() - startedAt < boundMs) timer = setTimeout(check, SILENCE_MS);
      else tell(unreachable(this.#at(request), `it has not answered for ${Math.round(boundMs / 1000)} s`));
    };
    let timer = setTimeout(check, Math.min(SILENCE_MS, boundMs));
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }

  #hold<Stream extends IncomingMessage | Socket>(stream: Stream, signal: AbortSignal): Stream {
    const onAbort = (): void => {
      stream.destroy(abortFailure(signal));
    };
    this.#open.add(stream);
    stream.once("close", () => {
      this.#open.delete(stream);
      signal.removeEventListener("abort", onAbort);
    });
    // Whoever reads the stream hears of its error from there; without this, an error while nobody reads ends the process.
    stream.on("error", () => {});
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    return stream;
  }

  /** An answer to its end. The modem, asked for that, waits for ever for the rest of one whose connection was torn. */
  async #whole(request: EngineRequest, signal: AbortSignal): Promise<Whole> {
    // as: with isStream the modem answers with the response itself
    const answer = (await this.#dial(request, { isStream: true }, signal)) as IncomingMessage;
    const onAbort = (): void => {
      answer.destroy(abortFailure(signal));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const pieces: Uint8Array[] = [];
      for await (const piece of answer) pieces.push(piece);
      if (signal.aborted) throw abortFailure(signal);
      return { headers: answer.headers, body: parsed(Buffer.concat(pieces).toString()) };
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Tries once more where that can't do a thing twice. */
  async #dial(request: EngineRequest, how: object, signal: AbortSignal): Promise<unknown> {
    const endpoint = this.#endpoint;
    try {
      return await this.#dialOnce(request, how, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      // A connection that idled while the engine was started anew breaks under the next call.
      const hungUp = code === "ECONNRESET" || code === "EPIPE";
      if (code === "ENOENT" || code === "ECONNREFUSED") this.#dialect = undefined;
      if (!(hungUp && request.method === "GET") && !(code === "ENOENT" && this.#movedFrom(endpoint)))
        throw error;
      return await this.#dialOnce(request, how, signal);
    }
  }

  /**
   * Whether there is another endpoint by now, and turns to it; not from one that has ever answered: what listens elsewhere
   * is another engine, which has none of its containers.
   */
  #movedFrom(old: Endpoint): boolean {
    if (this.#endpoint !== old) return true;
    if (this.#hasAnswered) return false;
    const found = this.#find();
    if (found.name === old.name) return false;
    this.#agent.destroy();
    this.#endpoint = found;
    this.#agent = openAgent(found);
    this.#modem = openModem(found, this.#agent);
    return true;
  }

  #dialOnce(request: EngineRequest, how: object, signal: AbortSignal): Promise<unknown> {
    const prefix = this.endpoint.kind === "tcp" ? this.endpoint.pathPrefix : "";
    return new Promise((resolve, reject) => {
      this.#modem.dial(
        {
          // The modem cuts the last character off a path with a `?` and no query, and sends a body of `{}` as none.
          path: request.query === undefined ? `${prefix}${request.path}` : `${prefix}${request.path}?`,
          method: request.method,
          options: { _query: request.query ?? {}, _body: request.body ?? {} },
          statusCodes: SUCCESSES,
          abortSignal: signal,
          ...how,
        },
        (error, answer) => {
          if (error !== null && error !== undefined) return reject(error);
          this.#hasAnswered = true;
          resolve(answer);
        },
      );
    });
  }

  #at(request: EngineRequest): { doing: string; endpoint: string } {
    return { doing: request.doing, endpoint: this.endpoint.name };
  }
}

interface Whole {
  readonly headers: IncomingMessage["headers"];
  readonly body: unknown;
}

/** What is no JSON is passed on as it is, for whoever expects something to say so. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

type Modem = Docker["modem"];

/** Why a ping failed; without an error, because nothing came. */
interface Silence {
  readonly error?: unknown;
}

/** 304: it is so already. */
const SUCCESSES = { 200: true, 201: true, 204: true, 304: true } as const;

function openAgent(endpoint: Endpoint): Agent {
  const options = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: IDLE_SOCKETS };
  const tls = endpoint.kind === "tcp" ? endpoint.tls : undefined;
  const agent =
    tls === undefined
      ? new Agent(options)
      : new TlsAgent({ ...options, ...tls, rejectUnauthorized: tls.verify });
  // The modem prints every request's options into a log line that nobody sees, connections and all.
  Object.defineProperty(agent, inspect.custom, { value: () => "Agent" });
  return agent;
}

function openModem(endpoint: Endpoint, agent: Agent): Modem {
  const at =
    endpoint.kind === "unix"
      ? { socketPath: endpoint.socketPath, protocol: "http" as const }
      : {
          host: endpoint.host,
          port: endpoint.port,
          protocol: endpoint.tls ? ("https" as const) : ("http" as const),
        };
  const tls = endpoint.kind === "tcp" ? endpoint.tls : undefined;
  // Every option is named, since the modem fills what is left out from the environment.
  const unset = {
    socketPath: undefined,
    host: undefined,
    port: undefined,
    timeout: undefined,
    username: undefined,
  };
  const keys = { ca: tls?.ca, cert: tls?.cert, key: tls?.key };
  const options: Docker.DockerOptions & { agent: Agent } = { ...unset, ...keys, ...at, agent };
  return new Docker(options).modem;
}
