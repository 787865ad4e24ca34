import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import type {
  CreateContainerRequestSchema,
  SessionMetadataSchema,
  SessionPolicySchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Shell } from "./shell.ts";
import { stopOnSignals } from "./stop-on-signals.ts";

export interface FreshSessionOptions {
  readonly metadata: MessageInitShape<typeof SessionMetadataSchema>;
  readonly policy: MessageInitShape<typeof SessionPolicySchema>;
  /** Whether it stays when it is disposed. */
  readonly keep: boolean;
  readonly shell: Shell;
  readonly signal: AbortSignal;
}

/**
 * A session for one container, removed with it when it is disposed. Should this process die before, the session ends by
 * itself, because nobody keeps it busy any more.
 */
export class FreshSession implements AsyncDisposable {
  readonly #client: Client;
  readonly #id: string;
  readonly #options: FreshSessionOptions;
  readonly #beat: Timer | undefined;
  #containerId: string | undefined;
  #isKept: boolean;

  static async open(client: Client, options: FreshSessionOptions): Promise<FreshSession> {
    const { metadata, policy, keep, signal } = options;
    const { sessionId } = await client.orchestrator.createSession(
      {
        metadata,
        config: { maxContainers: 1, policy, idleTimeoutNs: keep ? 0n : IDLE_TIMEOUT_NS },
      },
      { signal },
    );
    return new FreshSession(client, sessionId, options);
  }

  private constructor(client: Client, id: string, options: FreshSessionOptions) {
    this.#client = client;
    this.#id = id;
    this.#options = options;
    this.#isKept = options.keep;
    // An update that changes nothing is activity, and nothing else.
    const beat = (): void => void client.orchestrator.updateSession({ sessionId: id }).catch(() => undefined);
    this.#beat = options.keep ? undefined : setInterval(beat, BEAT_INTERVAL_MS);
  }

  /** Gives the container's id. */
  async createContainer(
    request: Pick<MessageInitShape<typeof CreateContainerRequestSchema>, "config" | "pull">,
  ): Promise<string> {
    const { signal } = this.#options;
    const { containerId } = await this.#client.orchestrator.createContainer(
      { ...request, sessionId: this.#id },
      { signal, timeoutMs: CREATE_TIMEOUT_MS },
    );
    this.#containerId = containerId;
    return containerId;
  }

  /** Leaves it where it is, after all; it ends when nobody has kept it busy for a while. */
  keep(): void {
    this.#isKept = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beat);
    const { shell } = this.#options;
    if (this.#isKept) {
      const container = this.#containerId === undefined ? "" : ` with container ${this.#containerId}`;
      return await shell.err.write(`Kept session ${this.#id}${container}\n`).catch(() => undefined);
    }
    using _patience = stopOnSignals(shell, undefined); // the first Ctrl-C waits for this, the second doesn't
    try {
      await this.#removeContainer();
      const closed = { sessionId: this.#id, reason: "its command has ended" };
      await this.#client.orchestrator.closeSession(closed, { timeoutMs: CLEANUP_TIMEOUT_MS });
    } catch (error) {
      const failure = Failure.from(error);
      if (failure === undefined) throw error;
      await shell.err
        .write(`warning: session ${this.#id} is left behind: ${failure.message}\n`)
        .catch(() => undefined);
    }
  }

  /** At once, where closing the session would give it time to end by itself. */
  async #removeContainer(): Promise<void> {
    if (this.#containerId === undefined) return;
    const request = { containerId: this.#containerId, force: true };
    await this.#client.orchestrator
      .removeContainer(request, { timeoutMs: CLEANUP_TIMEOUT_MS })
      .catch((error) => {
        if (Failure.from(error)?.kind !== "not_found") throw error;
      });
  }
}

/** An image may have to be fetched. */
const CREATE_TIMEOUT_MS = 600_000;
const CLEANUP_TIMEOUT_MS = 60_000;

const BEAT_INTERVAL_MS = 120_000;
/** Five beats. */
const IDLE_TIMEOUT_NS = 600_000_000_000n;
