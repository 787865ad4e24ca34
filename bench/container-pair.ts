import { connect } from "node:net";
import { callEngine } from "../scripts/engine-api.ts";
import { ensureImage } from "../scripts/image.ts";
import { startServer } from "../test/server.ts";
import type { Bench } from "./figure.ts";

/** What the container figures are measured with: a server and its engine, side by side. */
export interface ContainerPair extends AsyncDisposable {
  readonly client: Awaited<ReturnType<typeof startServer>>["client"];
  readonly sessionId: string;
  readonly image: string;
  readonly raw: RawEngine;
  /** A container that sleeps: its id, and what the engine calls it. */
  sleeping(): Promise<{ readonly containerId: string; readonly runtimeId: string }>;
}

export async function containerPair(bench: Bench): Promise<ContainerPair> {
  const { dockerHost } = await bench.engine();
  const image = await ensureImage(dockerHost, "busybox", bench.progress);
  const server = await startServer({ program: [bench.program], dockerHost, flags: ["--no-warm"] });
  const { sessionId } = await server.client.orchestrator.createSession({});
  const { orchestrator } = server.client;
  return {
    client: server.client,
    sessionId,
    image,
    raw: new RawEngine(dockerHost),
    sleeping: async () => {
      const config = { image, command: ["sleep", "3600"] };
      const { containerId } = await orchestrator.createContainer({ sessionId, config });
      const { container } = await orchestrator.getContainer({ containerId });
      return { containerId, runtimeId: container?.runtimeId ?? "" };
    },
    [Symbol.asyncDispose]: async () => {
      try {
        await server.client.orchestrator.closeSession({ sessionId }, { timeoutMs: 60_000 });
      } finally {
        await server[Symbol.asyncDispose]();
      }
    },
  };
}

/** The engine's own API with nothing around it: fetch for calls, and a socket of its own for streams. */
class RawEngine {
  readonly #host: string;

  constructor(host: string) {
    this.#host = host;
  }

  /** Creates a container and gives its id. */
  async create(body: Record<string, unknown>): Promise<string> {
    return idOf(await this.#json("POST", "/containers/create", body));
  }

  /** The body that makes another container like `id`, as the engine sees it. */
  async bodyLike(id: string): Promise<Record<string, unknown>> {
    // What the engine's API says of a container; only the parts that a create call takes go on.
    const found = (await this.#json("GET", `/containers/${id}/json`)) as {
      readonly Config: Record<string, unknown>;
      readonly HostConfig: Record<string, unknown>;
    };
    const { Hostname: _, Labels: __, ...config } = found.Config;
    return { ...config, HostConfig: found.HostConfig };
  }

  async start(id: string): Promise<void> {
    await this.#json("POST", `/containers/${id}/start`);
  }

  async remove(id: string): Promise<void> {
    await this.#json("DELETE", `/containers/${id}?force=1&v=1`);
  }

  async createExec(container: string, command: readonly string[]): Promise<string> {
    const body = { Cmd: command, AttachStdout: true, AttachStderr: true };
    return idOf(await this.#json("POST", `/containers/${container}/exec`, body));
  }

  /** Unpacks an archive into a folder of a container. */
  async putArchive(container: string, path: string, archive: AsyncIterable<Uint8Array>): Promise<void> {
    const query = new URLSearchParams({ path });
    const pieces = archive[Symbol.asyncIterator]();
    const body = new ReadableStream<Uint8Array>({
      pull: async (stream) => {
        const next = await pieces.next();
        if (next.done === true) stream.close();
        else stream.enqueue(next.value);
      },
    });
    const answer = await callEngine(this.#host, `/containers/${container}/archive?${query}`, {
      method: "PUT",
      body,
      timeoutMs: copyTimeoutMs,
    });
    if (!answer.ok) throw new Error(`the engine answers ${answer.status}: ${await answer.text()}`);
  }

  /** A file of a container as an archive; gives how many bytes that has. */
  async getArchive(container: string, path: string): Promise<number> {
    const query = new URLSearchParams({ path });
    const from = `/containers/${container}/archive?${query}`;
    const answer = await callEngine(this.#host, from, { timeoutMs: copyTimeoutMs });
    if (!answer.ok || answer.body === null) throw new Error(`the engine answers ${answer.status}`);
    let bytes = 0;
    for await (const piece of answer.body) bytes += piece.byteLength;
    return bytes;
  }

  async execExitCode(id: string): Promise<number> {
    const { ExitCode } = (await this.#json("GET", `/exec/${id}/json`)) as { readonly ExitCode: number }; // as documented
    return ExitCode;
  }

  /** Opens a stream; `opened` resolves with the engine's answer, `first` with the first bytes after it. */
  stream(path: string, body?: object): RawStream {
    const [socket, ready] = this.#dial();
    const opened = Promise.withResolvers<void>();
    const first = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    let head: Buffer | undefined = Buffer.alloc(0);
    socket.on("data", (bytes: Buffer) => {
      if (head === undefined) return first.resolve();
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!/^HTTP\/1\.1 (101|200) /.test(head.toString("latin1", 0, 16))) {
        opened.reject(new Error(`the engine answers ${head.toString("latin1", 0, 200)}`));
      }
      if (head.length > end + 4) first.resolve();
      head = undefined;
      opened.resolve();
    });
    socket.once("end", () => ended.resolve());
    socket.once("error", opened.reject);
    ready.then(() => socket.write(upgrade(path, body)), opened.reject);
    return {
      opened: opened.promise,
      first: first.promise,
      ended: ended.promise,
      [Symbol.dispose]: () => void socket.destroy(),
    };
  }

  #dial() {
    const socket = this.#host.startsWith("unix://")
      ? connect(this.#host.slice("unix://".length))
      : connect(Number(new URL(this.#host).port), new URL(this.#host).hostname);
    const ready = Promise.withResolvers<void>();
    socket.once("connect", () => ready.resolve());
    socket.once("error", ready.reject);
    return [socket, ready.promise] as const;
  }

  async #json(
    method: "GET" | "POST" | "DELETE",
    path: string,
    body?: Record<string, unknown>,
  ): Promise<unknown> {
    const answer = await callEngine(this.#host, path, { method, ...(body === undefined ? {} : { body }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`the engine answers ${answer.status} to ${method} ${path}: ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }
}

const copyTimeoutMs = 600_000;

interface RawStream extends Disposable {
  readonly opened: Promise<void>;
  readonly first: Promise<void>;
  readonly ended: Promise<void>;
}

function upgrade(path: string, body: object | undefined): string {
  const text = body === undefined ? "" : JSON.stringify(body);
  const heads = [
    `POST ${path} HTTP/1.1`,
    "Host: engine",
    "Connection: Upgrade",
    "Upgrade: tcp",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(text)}`,
  ];
  return `${heads.join("\r\n")}\r\n\r\n${text}`;
}

function idOf(answer: unknown): string {
  if (typeof answer === "object" && answer !== null && "Id" in answer) return String(answer.Id);
  throw new Error(`the engine gives no id: ${JSON.stringify(answer)}`);
}
