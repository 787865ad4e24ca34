import type { Socket } from "node:net";
import type { ZodType } from "zod";
import { abortFailure, Failure } from "../../failure.ts";
import { type Dialect, DOCKER, dialectOf } from "./dialect.ts";
import type { Endpoint } from "./endpoint.ts";
import { ExecStarts } from "./exec-starts.ts";
import { engineFailure, type RefusalKinds, unreachable } from "./failures.ts";
import {
  type HttpAnswer,
  HttpClient,
  type HttpHeaders,
  HttpRefusal,
  type HttpRequest,
  textOf,
} from "./http.ts";

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

/**
 * The way to one engine. Every request ends by its signal, by its bound, or when the engine no longer answers pings, and
 * fails with a Failure that says what was being done.
 */
export class Engine {
  readonly execStarts = new ExecStarts();
  readonly #find: () => Endpoint;
  #endpoint: Endpoint;
  #hasAnswered = false;
  #http: HttpClient;
  #pinging: Promise<Silence | undefined> | undefined;
  #dialect: Dialect | undefined;

  /** `find` is asked again when its endpoint is gone: an engine that starts later may listen at another usual place. */
  constructor(find: () => Endpoint) {
    this.#find = find;
    this.#endpoint = find();
    this.#http = new HttpClient(this.#endpoint);
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
    await this.#spoken(request, signal, async (own) => {
      const answer = await this.#http.request(this.#asked(request, body), own);
      answer.destroy();
    });
  }

  /** A call whose answer is a stream, from its headers on. The signal destroys it. */
  async stream(request: EngineRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await this.#spoken(request, signal, (own) =>
      this.#dial(request, (http, asked) => http.request(asked, own), own),
    );
    return endedBy(signal, answer);
  }

  /** A call that turns its connection into a pipe of bytes both ways. The signal destroys it. */
  async hijack(request: EngineRequest, signal: AbortSignal): Promise<Socket> {
    const socket = await this.#spoken(request, signal, (own) =>
      this.#dial(request, (http, asked) => http.upgrade(asked, own), own),
    );
    const onAbort = () => void socket.destroy(abortFailure(signal));
    socket.once("close", () => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    return socket;
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
    this.#http.close();
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

  /** An answer to its end. */
  async #whole(request: EngineRequest, signal: AbortSignal): Promise<Whole> {
    const { headers, text } = await this.#dial(
      request,
      async (http, asked) => {
        const answer = endedBy(signal, await http.request(asked, signal));
        return { headers: answer.headers, text: await textOf(answer) };
      },
      signal,
    );
    return { headers, body: parsed(text) };
  }

  /** Tries once more where that can't do a thing twice. */
  async #dial<T>(
    request: EngineRequest,
    run: (http: HttpClient, asked: HttpRequest) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const endpoint = this.#endpoint;
    try {
      const answered = await run(this.#http, this.#asked(request));
      this.#hasAnswered = true;
      return answered;
    } catch (error) {
      if (error instanceof HttpRefusal) this.#hasAnswered = true;
      if (signal.aborted) throw error;
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      // A connection that idled while the engine was started anew breaks under the next call.
      const hungUp = code === "ECONNRESET" || code === "EPIPE";
      if (code === "ENOENT" || code === "ECONNREFUSED") this.#dialect = undefined;
      if (!(hungUp && request.method === "GET") && !(code === "ENOENT" && this.#movedFrom(endpoint)))
        throw error;
      return await run(this.#http, this.#asked(request));
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
    this.#http.close();
    this.#endpoint = found;
    this.#http = new HttpClient(found);
    return true;
  }

  #asked({ method, path, query, body }: EngineRequest, archive?: AsyncIterable<Uint8Array>): HttpRequest {
    const prefix = this.endpoint.kind === "tcp" ? this.endpoint.pathPrefix : "";
    return { method, path: `${prefix}${path}${queryText(query)}`, body: archive ?? body };
  }

  #at(request: EngineRequest): { doing: string; endpoint: string } {
    return { doing: request.doing, endpoint: this.endpoint.name };
  }
}

interface Whole {
  readonly headers: HttpHeaders;
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

/** Why a ping failed; without an error, because nothing came. */
interface Silence {
  readonly error?: unknown;
}

/** The same answer, which the signal destroys. */
function endedBy(signal: AbortSignal, answer: HttpAnswer): HttpAnswer {
  const onAbort = (): void => answer.destroy(abortFailure(signal));
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  const over = () => signal.removeEventListener("abort", onAbort);
  return {
    ...answer,
    async *[Symbol.asyncIterator]() {
      try {
        yield* answer;
      } finally {
        over();
      }
    },
    destroy: (error) => {
      over();
      answer.destroy(error);
    },
  };
}

function queryText(query: EngineRequest["query"]): string {
  const words = Object.entries(query ?? {}).map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
  );
  return words.length === 0 ? "" : `?${words.join("&")}`;
}
