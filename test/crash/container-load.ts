import { type Client, connect } from "../../src/client/client.ts";
import type { Outcome } from "./journal.ts";
import { outcomeOf } from "./outcome.ts";
import type { Random } from "./random.ts";

/** What the run knows of one container that it asked for. */
export interface KnownContainer {
  /** Unique in the run; its label `op`. */
  readonly op: string;
  created: Outcome;
  stopped: Outcome | undefined;
  removed: Outcome | undefined;
  /** Something is under way with it. */
  isBusy: boolean;
}

/** Makes, stops and removes containers in one session while it is told to. */
export class ContainerLoad implements AsyncDisposable {
  readonly known: KnownContainer[] = [];
  readonly sessionId: string;
  readonly #client: Client;
  readonly #image: string;
  readonly #random: Random;
  #goesOn = false;
  #work: Promise<unknown> = Promise.resolve();
  #count = 0;

  private constructor(parts: { client: Client; image: string; random: Random; sessionId: string }) {
    this.#client = parts.client;
    this.#image = parts.image;
    this.#random = parts.random;
    this.sessionId = parts.sessionId;
  }

  static async open(parts: {
    readonly socketPath: string;
    readonly image: string;
    readonly random: Random;
  }): Promise<ContainerLoad> {
    const address = `unix://${parts.socketPath}`;
    const client = connect({ address, callTimeoutMs: 20_000, reconnectIntervalMs: 100 });
    const { sessionId } = await client.orchestrator.createSession({
      metadata: { name: sessionName },
      config: { maxContainers: 100 },
    });
    return new ContainerLoad({ ...parts, client, sessionId });
  }

  get acknowledged(): number {
    const outcomes = this.known.flatMap(({ created, stopped, removed }) => [created, stopped, removed]);
    return outcomes.filter((outcome) => outcome?.kind === "acknowledged").length;
  }

  go(): void {
    this.#goesOn = true;
    this.#work = Promise.all([this.#create(), this.#create(), this.#end(), this.#end()]);
  }

  /** Begins nothing new from now on. */
  halt(): void {
    this.#goesOn = false;
  }

  /** Resolves when all its calls have ended. */
  async settled(): Promise<void> {
    await this.#work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.halt();
    await this.#client[Symbol.asyncDispose]();
  }

  async #create(): Promise<void> {
    while (this.#goesOn) {
      this.#count += 1;
      const op = `container-${this.#count}`;
      const container: KnownContainer = {
        op,
        created: { kind: "unknown", status: "under way" },
        stopped: undefined,
        removed: undefined,
        isBusy: true,
      };
      this.known.push(container);
      const config = { image: this.#image, command: ["sleep", "1000"], labels: { op } };
      const { sessionId } = this;
      const idempotencyKey = this.#random.next() < 0.5 ? `key-${op}` : "";
      container.created = await outcomeOf(
        this.#client.orchestrator
          .createContainer({ sessionId, config, idempotencyKey })
          .then(({ containerId }) => containerId),
      );
      container.isBusy = false;
    }
  }

  async #end(): Promise<void> {
    while (this.#goesOn) {
      const container = this.#random.pick(this.known.filter(isIdle));
      if (container?.created.kind !== "acknowledged") {
        await Bun.sleep(20);
        continue;
      }
      container.isBusy = true;
      const containerId = container.created.id;
      if (this.#random.next() < 0.5 && container.stopped === undefined) {
        const timeoutNs = 50_000_000n;
        container.stopped = await outcomeOf(
          this.#client.orchestrator.stopContainer({ containerId, timeoutNs }).then(() => containerId),
        );
      } else {
        container.removed = { kind: "unknown", status: "under way" };
        container.removed = await outcomeOf(
          this.#client.orchestrator.removeContainer({ containerId, force: true }).then(() => containerId),
        );
      }
      container.isBusy = false;
    }
  }
}

/** The name of the session that the containers are in. */
export const sessionName = "containers";

function isIdle({ created, removed, isBusy }: KnownContainer): boolean {
  return !isBusy && created.kind === "acknowledged" && removed === undefined;
}
