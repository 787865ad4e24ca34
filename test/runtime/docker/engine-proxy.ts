import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A socket before an engine's own, which tests can make behave like an engine that hangs, dies and comes back. */
export class EngineProxy implements AsyncDisposable {
  readonly path = join(mkdtempSync(join(tmpdir(), "baaaht-proxy-")), "docker.sock");
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #frozen = false;

  constructor(target: string) {
    this.#target = target;
  }

  get dockerHost(): string {
    return `unix://${this.path}`;
  }

  /** Resolves when no client holds a connection any more. */
  async untilUnused(): Promise<void> {
    while (this.#sockets.size > 0)
      await new Promise((resolve) => [...this.#sockets][0]?.once("close", resolve));
  }

  /** How many connections clients hold. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  async up(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (client) => this.#join(client));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  /** Like an engine whose process is stopped: connections are taken and nothing moves. */
  freeze(): void {
    this.#frozen = true;
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Like an engine that was killed. */
  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    rmSync(this.path, { force: true });
    this.#frozen = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  #join(client: Socket): void {
    const engine = connect({ path: this.#target, allowHalfOpen: true });
    for (const [one, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      this.#sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        if (!this.#frozen) other.destroy();
      });
      if (!this.#frozen) one.pipe(other);
    }
  }
}
