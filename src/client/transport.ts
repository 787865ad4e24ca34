import type { DescMethod } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import type { Failure } from "../failure.ts";
import { type Address, parseAddress } from "./address.ts";
import type { CallOptions } from "./call-options.ts";
import type { ClientOptions, Reconnect } from "./client-options.ts";
import { Connection, closed } from "./connection.ts";

/** What the calls of one client share: the address, the connection of the unary calls, and what is under way. */
export class Transport implements Disposable {
  readonly address: Address;
  readonly reconnect: Reconnect;
  readonly #options: ClientOptions;
  readonly #shared: Connection;
  readonly #base: Metadata;
  readonly #underWay = new Set<Cancellable>();
  /** Connections of streams that have ended well, for streams to come: to connect costs more than a short stream. */
  #idle: Connection[] = [];
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #wasUp = false;
  #closed = false;

  constructor(options: ClientOptions) {
    this.address = parseAddress(options.address);
    this.reconnect = {
      intervalMs: options.reconnectIntervalMs ?? 5000,
      maxAttempts: options.reconnectMaxAttempts ?? 0,
    };
    this.#options = options;
    this.#base = withOptions(new Metadata(), options);
    this.#shared = this.#connection(1024 * 1024);
  }

  /** The connection that unary calls share. */
  get shared(): Connection {
    return this.#shared;
  }

  /** A connection of its own for a stream, which gives it back or closes it. */
  dial(): Connection {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.isUp) return idle;
      idle[Symbol.dispose]();
    }
    return this.#connection(0);
  }

  /** Takes the connection of a stream that has ended with nothing left on it. */
  giveBack(connection: Connection): void {
    if (this.#closed || this.#idle.length >= MAX_IDLE) {
      connection[Symbol.dispose]();
      return;
    }
    this.#idle.push(connection);
    this.#idleTimer ??= setTimeout(() => this.#closeIdle(), IDLE_MS);
    this.#idleTimer.unref();
  }

  async ready(signal: AbortSignal | undefined): Promise<void> {
    await this.up(this.#shared, {
      deadline: Number.POSITIVE_INFINITY,
      options: { signal, waitForReady: true },
    });
  }

  /** Waits until `connection` is there; throws when it can't be had by `deadline` (milliseconds since the epoch). */
  async up(
    connection: Connection,
    call: {
      readonly deadline: number;
      readonly options: {
        readonly signal?: AbortSignal | undefined;
        readonly waitForReady?: boolean | undefined;
      };
    },
  ): Promise<void> {
    if (this.#closed) throw closed();
    if (connection.isUp) return;
    const dialled = Date.now() + (this.#options.dialTimeoutMs ?? 30_000);
    await connection.up({
      deadline: Math.min(call.deadline, dialled),
      of: call.deadline < dialled ? "the call" : "a connection",
      persistent: call.options.waitForReady ?? this.#wasUp,
      signal: call.options.signal,
    });
    this.#wasUp = true;
  }

  /** How long a call of `method` may take, waiting for the connection included. Milliseconds; infinite is without end. */
  timeoutMs(method: DescMethod, options: CallOptions): number {
    const timeoutMs = options.timeoutMs ?? this.#defaultTimeoutMs(method);
    return timeoutMs === 0 ? Number.POSITIVE_INFINITY : Math.min(timeoutMs, MAX_TIMEOUT_MS);
  }

  metadata(options: CallOptions): Metadata {
    if (options.metadata === undefined && options.correlationId === undefined) return this.#base;
    return withOptions(this.#base.clone(), options);
  }

  /** Has `call` cancelled when the client is closed before `leave` is called for it. */
  enter(call: Cancellable): void {
    if (this.#closed) throw closed();
    this.#underWay.add(call);
  }

  leave(call: Cancellable): void {
    this.#underWay.delete(call);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const call of this.#underWay) call.cancel(closed());
    this.#underWay.clear();
    this.#closeIdle();
    this.#shared[Symbol.dispose]();
  }

  #closeIdle(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    for (const connection of this.#idle.splice(0)) connection[Symbol.dispose]();
  }

  #connection(keptRequestBytes: number): Connection {
    return new Connection(this.address, { reconnectIntervalMs: this.reconnect.intervalMs, keptRequestBytes });
  }

  #defaultTimeoutMs(method: DescMethod): number {
    const waits = method.methodKind !== "unary" || method.name.startsWith("Wait");
    return waits ? 0 : (this.#options.callTimeoutMs ?? 10_000);
  }
}

export interface Cancellable {
  cancel(reason: Failure): void;
}

/** How many connections without a stream are kept, and for how long, in milliseconds. */
const MAX_IDLE = 16;
const IDLE_MS = 10_000;

/** 20 days: above 24.8 the timers beneath overflow, and the call would end at once. */
const MAX_TIMEOUT_MS = 20 * 24 * 60 * 60 * 1000;

/** `metadata` with what the options say in place of what it said before. */
function withOptions(
  metadata: Metadata,
  options: Pick<ClientOptions, "metadata" | "correlationId" | "token">,
): Metadata {
  if (options.token !== undefined) metadata.set("authorization", `Bearer ${options.token}`);
  if (options.correlationId !== undefined) metadata.set("x-correlation-id", options.correlationId);
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  return metadata;
}
