import { Failure } from "../failure.ts";
import { backoffMs, pause } from "./backoff.ts";
import type { CallOptions } from "./call-options.ts";
import type { Client } from "./client.ts";

export interface IdentityOptions {
  readonly registration: Parameters<Client["agent"]["register"]>[0];
  /** Comes back as this agent, if the server still knows it. */
  readonly agentId?: string | undefined;
  /** Told when the server has registered it. */
  readonly registered?: (agentId: string) => void;
  /** Told why the server could not be reached, and in how many milliseconds it is tried again. */
  readonly lost: (failure: Failure, againInMs: number) => void;
  readonly onTrailers?: CallOptions["onTrailers"];
}

/** Who a program is to the server as an agent: registered when that is needed, and signed off at the end. */
export class AgentIdentity {
  readonly #client: Client;
  readonly #options: IdentityOptions;
  #agentId: string | undefined;
  #token = "";

  constructor(client: Client, options: IdentityOptions) {
    this.#client = client;
    this.#options = options;
    this.#agentId = options.agentId;
  }

  /** What the server tells this agent by, to be sent with its calls. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#token === "" ? {} : { "x-baaaht-agent-token": this.#token };
  }

  /**
   * Its id; registers it if it has none. Waits for a server that was there before.
   *
   * Failures: as Register; UNAVAILABLE when there is no server to begin with; the signal's.
   */
  async id(signal: AbortSignal): Promise<string> {
    return this.#agentId ?? (await this.#register(signal));
  }

  /** The server does not know it any more: it has to be registered anew. */
  forget(): void {
    this.#agentId = undefined;
  }

  /** The server asks others from now on. One that can't be reached finds out by itself. */
  async signOff(reason: string, { withinMs }: { readonly withinMs: number }): Promise<void> {
    if (this.#agentId === undefined) return;
    await this.#client.agent
      .unregister(
        { agentId: this.#agentId, reason },
        { metadata: this.metadata, timeoutMs: withinMs, waitForReady: false },
      )
      .catch(() => undefined);
  }

  async #register(signal: AbortSignal): Promise<string> {
    const { registration, registered, lost, onTrailers } = this.#options;
    const calling = { signal, ...(onTrailers === undefined ? {} : { onTrailers }) };
    for (let failures = 0; ; ) {
      try {
        const { agentId, registrationToken } = await this.#client.agent.register(registration, calling);
        this.#agentId = agentId;
        this.#token = registrationToken;
        registered?.(agentId);
        return agentId;
      } catch (error) {
        const failure = Failure.from(error);
        const isFirst = this.#token === "" && failures === 0;
        if (failure?.kind !== "unavailable" || isFirst) throw error;
        failures += 1;
        const ms = backoffMs(failures, { maxMs: this.#client.reconnect.intervalMs, random: Math.random() });
        lost(failure, ms);
        await pause(ms, signal);
      }
    }
  }
}
