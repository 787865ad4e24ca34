import { Channel, type ChannelInterface, connectivityState, credentials } from "@grpc/grpc-js";
import { abortFailure, Failure } from "../failure.ts";
import type { Address } from "./address.ts";
import { UNREACHABLE, unreachable, type Waited } from "./unreachable.ts";

/** The largest message that is sent or received, bytes. The server's limit. */
export const MAX_MESSAGE_BYTES = 100 * 1024 * 1024;

/** How long to wait for a connection. */
export interface Patience {
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  /** Whose time ends then. */
  readonly of: Waited["for"];
  /** Whether to go on after an attempt has failed. */
  readonly persistent: boolean;
  readonly signal: AbortSignal | undefined;
}

/** One HTTP/2 connection to the server, made when it is first needed and made anew when it is lost. */
export class Connection implements Disposable {
  readonly channel: ChannelInterface;
  readonly #address: Address;

  constructor(
    address: Address,
    options: {
      readonly reconnectIntervalMs: number;
      /** What grpc-js may keep of a call's requests, bytes: up to that it takes them whether the server does or not. */
      readonly keptRequestBytes: number;
    },
  ) {
    this.#address = address;
    this.channel = new Channel(targetOf(address), credentials.createInsecure(), {
      // Otherwise channels to one address share a connection, and a stream that is not read holds up the others.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
      "grpc.initial_reconnect_backoff_ms": Math.min(FIRST_RECONNECT_MS, options.reconnectIntervalMs),
      "grpc.max_reconnect_backoff_ms": options.reconnectIntervalMs,
      "grpc.per_rpc_retry_buffer_size": options.keptRequestBytes,
      "grpc.service_config_disable_resolution": 1,
      "grpc.enable_http_proxy": 0,
      "grpc.enable_channelz": 0,
    });
  }

  get isUp(): boolean {
    return this.channel.getConnectivityState(false) === connectivityState.READY;
  }

  /** Waits until there is a connection. */
  async up(patience: Patience): Promise<void> {
    const since = Date.now();
    for (;;) {
      if (patience.signal?.aborted) throw abortFailure(patience.signal);
      const state = this.channel.getConnectivityState(true);
      if (state === connectivityState.READY) return;
      if (state === connectivityState.SHUTDOWN) throw closed();
      if (state === connectivityState.TRANSIENT_FAILURE) await this.#refused(patience, since);
      else if (!(await this.#changed(state, patience)))
        throw await unreachable(this.#address, { ms: Date.now() - since, for: patience.of });
    }
  }

  [Symbol.dispose](): void {
    this.channel.close();
  }

  /** An attempt has failed: throws why, or returns when it is time to look again. */
  async #refused(patience: Patience, since: number): Promise<void> {
    const failure = await unreachable(this.#address, { ms: Date.now() - since, for: patience.of });
    if (!patience.persistent || failure.kind === "permission_denied") throw failure;
    if (!(await this.#changed(connectivityState.TRANSIENT_FAILURE, patience))) throw failure;
  }

  /** Whether the connection's state became another one than `state` in time. */
  async #changed(state: connectivityState, { deadline, signal }: Patience): Promise<boolean> {
    // Neither tells of what happened before one began to listen.
    if (signal?.aborted || this.channel.getConnectivityState(false) !== state) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const stop = () => resolve(true); // up() looks at the signal first
    signal?.addEventListener("abort", stop, { once: true });
    this.channel.watchConnectivityState(state, new Date(deadline), (late) => resolve(late === undefined));
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }
}

/** What a call gets when its client was closed before its end. */
export function closed(): Failure {
  return new Failure("cancelled", "Cannot finish the call: the client was closed", {
    reason: "CLIENT_CLOSED",
  });
}

/** Whether `failure` says that there was no connection, so that nothing was sent. */
export function isUnreachable(failure: Failure): boolean {
  return failure.details.reason === UNREACHABLE;
}

const FIRST_RECONNECT_MS = 100;

function targetOf(address: Address): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return address.host.includes(":")
    ? `dns:[${address.host}]:${address.port}`
    : `dns:${address.host}:${address.port}`;
}
