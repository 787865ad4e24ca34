/** What a model's server says to one request. */
export type Reply =
  /** Text, in these pieces. */
  | ({ readonly kind: "text"; readonly pieces: readonly string[] } & End)
  | ({ readonly kind: "calls"; readonly calls: readonly ModelCall[]; readonly text?: string } & End)
  | {
      readonly kind: "status";
      readonly status: number;
      readonly body?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Text, and then the connection ends when the test says so, by `cut`. */
  | { readonly kind: "cut"; readonly pieces: readonly string[] }
  /** These bytes, whatever they are, as a stream of events. */
  | { readonly kind: "nonsense"; readonly body: string }
  /** Text, and then nothing more until the caller goes. */
  | { readonly kind: "silence"; readonly pieces: readonly string[] };

interface End {
  /** Why it ends, instead of what is usual. */
  readonly finish?: string;
  /** Tokens that were read and that were said, where the server counts them. */
  readonly usage?: readonly [number, number];
}

export interface ModelCall {
  readonly name: string;
  /** As a model writes it: JSON, or what it takes for it. */
  readonly arguments: string;
}

/** A request as it came. */
interface Asked {
  readonly path: string;
  readonly key: string | null;
  readonly body: {
    readonly messages: readonly { readonly role: string; readonly content: string | null }[];
    readonly tools?: readonly { readonly function: { readonly name: string } }[];
  };
}

/** A server that speaks the OpenAI chat-completions protocol over HTTP, and says what a test wants it to say. */
export class ModelServer implements AsyncDisposable {
  readonly asked: Asked[] = [];
  /** How many callers have gone before they had their whole answer. */
  left = 0;
  readonly #replies: Reply[];
  readonly #server: ReturnType<typeof Bun.serve>;
  #changed = Promise.withResolvers<void>();
  readonly #cut = Promise.withResolvers<void>();

  /** The last of `replies` is given again and again. */
  constructor(...replies: Reply[]) {
    this.#replies = replies;
    this.#server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => this.#answer(request) });
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.#server.port}/v1`;
  }

  /** Waits until `holds`, looking whenever somebody has asked or gone. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed.promise;
  }

  /** Ends the connections of those that are to be cut. */
  cut(): void {
    this.#cut.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  async #answer(request: Request): Promise<Response> {
    const path = new URL(request.url).pathname;
    const body = (await request.json()) as Asked["body"]; // what comes is what is tested
    this.asked.push({ path, key: request.headers.get("authorization"), body });
    this.#change();
    const reply = this.#replies.length > 1 ? this.#replies.shift() : this.#replies[0];
    if (reply === undefined) return new Response("no reply is left", { status: 500 });
    if (reply.kind === "status") {
      const { status, body: text = "", headers = {} } = reply;
      return new Response(text, { status, headers: { "content-type": "application/json", ...headers } });
    }
    if (reply.kind === "nonsense") return new Response(reply.body, { headers: EVENT_STREAM });
    request.signal.addEventListener("abort", () => {
      this.left += 1;
      this.#change();
    });
    return new Response(streamOf(reply, this.#cut.promise), { headers: EVENT_STREAM });
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

const EVENT_STREAM = { "content-type": "text/event-stream" };

type Streamed = Exclude<Reply, { readonly kind: "status" | "nonsense" }>;

function streamOf(reply: Streamed, cut: Promise<void>): ReadableStream<Uint8Array> {
  const frames = framesOf(reply).map((frame) => new TextEncoder().encode(`data: ${frame}\n\n`));
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const frame = frames.shift();
      if (frame !== undefined) return controller.enqueue(frame);
      if (reply.kind === "silence") await new Promise(() => {});
      if (reply.kind !== "cut") return controller.close();
      await cut;
      controller.error();
    },
  });
}

function framesOf(reply: Streamed): readonly string[] {
  const begin = chunk({ role: "assistant", content: "" });
  if (reply.kind === "calls") {
    return [
      begin,
      ...(reply.text === undefined ? [] : [chunk({ content: reply.text })]),
      // The arguments come in two parts, as they do from a model.
      ...reply.calls.flatMap(({ name, arguments: words }, index) => [
        chunk({
          tool_calls: [{ index, id: `call-${index}`, type: "function", function: { name, arguments: "" } }],
        }),
        chunk({ tool_calls: [{ index, function: { arguments: words.slice(0, 5) } }] }),
        chunk({ tool_calls: [{ index, function: { arguments: words.slice(5) } }] }),
      ]),
      ...end(reply, "tool_calls"),
      "[DONE]",
    ];
  }
  const pieces = reply.pieces.map((content) => chunk({ content }));
  if (reply.kind !== "text") return [begin, ...pieces];
  return [begin, ...pieces, ...end(reply, "stop"), "[DONE]"];
}

function end({ finish, usage }: End, usual: string): readonly string[] {
  const last = chunk({}, finish ?? usual);
  if (usage === undefined) return [last];
  const [read, said] = usage;
  const counted = { prompt_tokens: read, completion_tokens: said, total_tokens: read + said };
  return [last, JSON.stringify({ ...JSON.parse(chunk({})), choices: [], usage: counted })];
}

function chunk(delta: object, finish: string | null = null): string {
  return JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1,
    model: "test",
    choices: [{ index: 0, delta, finish_reason: finish }],
  });
}
