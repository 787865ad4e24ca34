import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";

/** A request as it goes through. */
export interface ProxiedRequest {
  readonly method: string;
  /** Without version and query. */
  readonly path: string;
  /** The same with `*` for each id and name: `/containers/<id>/start` is `/containers/{}/start`. */
  readonly route: string;
}

/** What becomes of a request. */
export type Treatment =
  | { readonly kind: "pass" }
  /** The proxy answers in the engine's place, which hears nothing of it. */
  | { readonly kind: "answer"; readonly status: number; readonly body: object }
  /** The engine gets it; half of the first piece of its answer is passed on, and then nothing. */
  | { readonly kind: "half" }
  /** The engine gets it; half of the first piece of its answer is passed on, and then the connection ends. */
  | { readonly kind: "torn" }
  /** The engine gets it, and its answer is kept. */
  | { readonly kind: "hang" }
  /** The connection is cut, and the engine hears nothing of it. */
  | { readonly kind: "cut" };

/** What a test has to say about what goes through. */
export interface ProxyRules {
  readonly onRequest?: (request: ProxiedRequest) => Treatment | Promise<Treatment>;
  /** Called when the engine has begun to answer; what it says is passed on when this resolves. */
  readonly onAnswer?: (request: ProxiedRequest) => void | Promise<void>;
}

const pass: Treatment = { kind: "pass" };

/** A socket before an engine's own, which tests can make behave like an engine that hangs, errs, dies and comes back. */
export class EngineProxy implements AsyncDisposable {
  readonly path = join(mkdtempSync(join(tmpdir(), "baaaht-proxy-")), "docker.sock");
  /** In force for what begins from now on. */
  rules: ProxyRules = {};
  readonly #target: string;
  readonly #joints = new Set<Joint>();
  #server: Server | undefined;
  #frozen: PromiseWithResolvers<void> | undefined;

  constructor(target: string) {
    this.#target = target;
  }

  get dockerHost(): string {
    return `unix://${this.path}`;
  }

  /** Resolves when no client holds a connection any more. */
  async untilUnused(): Promise<void> {
    while (this.#joints.size > 0)
      await new Promise((resolve) => [...this.#joints][0]?.client.once("close", resolve));
  }

  /** How many connections clients hold. */
  get connections(): number {
    return this.#joints.size;
  }

  /** What the engine was asked and has not begun to answer. */
  get unanswered(): readonly string[] {
    return [...this.#joints].flatMap(({ current }) =>
      current?.pieces === 0 ? [`${current.request.method} ${current.request.path}`] : [],
    );
  }

  async up(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer({ allowHalfOpen: true }, (client) => this.#join(client));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  /** Like an engine whose process is stopped: connections are taken and nothing moves. */
  freeze(): void {
    this.#frozen ??= Promise.withResolvers();
  }

  thaw(): void {
    this.#frozen?.resolve();
    this.#frozen = undefined;
  }

  /** Like an engine that was killed. */
  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    this.cut(() => true);
    this.thaw();
    await closed;
    rmSync(this.path, { force: true });
  }

  /** Like an engine that was killed so that its socket's file is left: whoever connects is refused. */
  async refuse(): Promise<void> {
    const aside = `${this.path}.aside`;
    renameSync(this.path, aside); // closing the listener removes the file that it made
    await this.down();
    renameSync(aside, this.path);
  }

  /** Cuts the connections that carry such a request now. */
  cut(which: (request: ProxiedRequest | undefined) => boolean): void {
    for (const { client, engine, current } of this.#joints) {
      if (!which(current?.request)) continue;
      client.destroy();
      engine.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    rmSync(dirname(this.path), { recursive: true, force: true });
  }

  #join(client: Socket): void {
    const engine = connect({ path: this.#target, allowHalfOpen: true });
    const joint: Joint = { client, engine, current: undefined };
    this.#joints.add(joint);
    client.on("close", () => this.#joints.delete(joint));
    for (const [one, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      one.on("error", () => {});
      one.on("close", () => {
        if (this.#frozen === undefined) other.destroy();
      });
    }
    client.pipe(piece((data) => this.#ask(joint, data))).pipe(engine);
    engine.pipe(piece((data) => this.#answer(joint, data))).pipe(client);
  }

  async #ask(joint: Joint, data: Buffer): Promise<Buffer> {
    await this.#frozen?.promise;
    const { current } = joint;
    const request = current?.hijacked === true ? undefined : readRequest(data);
    if (request === undefined) return current?.treatment.kind === "answer" ? nothing : data;
    const treatment = (await this.rules.onRequest?.(request)) ?? pass;
    joint.current = {
      request,
      treatment,
      hijacked: /\r\nupgrade:/i.test(data.toString("latin1")),
      pieces: 0,
    };
    if (treatment.kind === "answer") joint.client.end(answerText(treatment));
    if (treatment.kind === "cut") {
      joint.client.destroy();
      joint.engine.destroy();
    }
    return treatment.kind === "answer" || treatment.kind === "cut" ? nothing : data;
  }

  async #answer(joint: Joint, data: Buffer): Promise<Buffer> {
    await this.#frozen?.promise;
    const { current } = joint;
    if (current === undefined) return data;
    current.pieces += 1;
    if (current.pieces === 1) await this.rules.onAnswer?.(current.request);
    if (current.treatment.kind === "hang") return nothing;
    const { kind } = current.treatment;
    if (kind !== "half" && kind !== "torn") return data;
    if (kind === "torn") setImmediate(() => joint.client.end());
    return current.pieces === 1 ? data.subarray(0, Math.ceil(data.length / 2)) : nothing;
  }
}

/** A client's connection and the one to the engine that belongs to it. */
interface Joint {
  readonly client: Socket;
  readonly engine: Socket;
  current: Current | undefined;
}

/** The request that a connection carries now; the next one comes only when it is answered. */
interface Current {
  readonly request: ProxiedRequest;
  readonly treatment: Treatment;
  /** From here on it is a pipe of bytes. */
  readonly hijacked: boolean;
  /** How many pieces of its answer have come. */
  pieces: number;
}

const nothing = Buffer.alloc(0);

/** Hands on what `act` makes of each piece, one after the other. */
function piece(act: (data: Buffer) => Promise<Buffer>): Transform {
  const through = new Transform({
    transform: (data: Buffer, _encoding, done) => {
      act(data).then(
        (result) => done(null, result.length === 0 ? undefined : result),
        (error: Error) => done(error),
      );
    },
  });
  through.on("error", () => {});
  return through;
}

/** The request whose head a piece begins with: our client sends each head in a piece of its own, and one at a time. */
function readRequest(data: Buffer): ProxiedRequest | undefined {
  const found = /^([A-Z]+) (?:\/v[\d.]+)?(\/[^ ?]*)\S* HTTP\/1\.1\r\n/.exec(
    data.subarray(0, 4_096).toString("latin1"),
  );
  if (found === null) return undefined;
  const [, method = "", path = ""] = found;
  return {
    method,
    path,
    route: path.replace(/^\/(containers|exec|images|networks|volumes)\/(?!json$|create$)[^/]+/, "/$1/{}"),
  };
}

function answerText(answer: { readonly status: number; readonly body: object }): string {
  const { status } = answer;
  const body = JSON.stringify(answer.body);
  const head = [
    `HTTP/1.1 ${status} Fault`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}
