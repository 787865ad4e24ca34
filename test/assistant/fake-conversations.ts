import type { MessageInitShape } from "@bufbuild/protobuf";
import { Metadata, type ServerDuplexStream, status } from "@grpc/grpc-js";
import {
  type AgentMessage,
  type AgentMessageSchema,
  ControlCommand,
  MessageType,
  type RegisterRequest,
  type StreamAgentRequest,
  type StreamAgentResponseSchema,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import {
  type Message,
  MessageRole,
  type MessageSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { freshFolder, serveRaw } from "../client/grpc-server.ts";

type Line = ServerDuplexStream<StreamAgentRequest, MessageInitShape<typeof StreamAgentResponseSchema>>;

/**
 * The server's part of what an assistant needs, on grpc-js alone: it asks what a test wants to have asked, and keeps what the
 * assistant says and stores. It decides nothing.
 */
export class FakeConversations implements AsyncDisposable {
  readonly registered: RegisterRequest[] = [];
  readonly unregistered: string[] = [];
  /** What was stored, and what a test puts there. */
  readonly messages: MessageInitShape<typeof MessageSchema>[] = [];
  /** How often messages were listed. */
  listed = 0;
  /** Agents that it does not know any more. */
  readonly forgotten = new Set<string>();
  readonly #heard: AgentMessage[] = [];
  readonly #stack = new AsyncDisposableStack();
  #line: Line | undefined;
  #server: AsyncDisposable | undefined;
  #changed = Promise.withResolvers<void>();
  path = "";

  static async start(): Promise<FakeConversations> {
    const server = new FakeConversations();
    const folder = server.#stack.use(await freshFolder());
    server.path = `${folder.path}/s.sock`;
    await server.up();
    return server;
  }

  /** Listens, again after `down`. */
  async up(): Promise<void> {
    this.#server = await serveRaw(
      {
        listMessages: ({ request }, answer) => {
          this.listed += 1;
          const from = Number(request.pageToken || 0);
          const all = request.newestFirst ? this.messages.toReversed() : this.messages;
          const messages = all.slice(from, from + PAGE);
          const isLast = from + PAGE >= all.length;
          answer(null, {
            messages,
            totalCount: all.length,
            nextPageToken: isLast ? "" : String(from + PAGE),
          });
        },
        sendMessage: ({ request }, answer) => {
          if (request.message !== undefined) this.messages.push(request.message);
          this.#change();
          answer(null, { messageId: request.message?.id ?? "", sessionId: request.sessionId });
        },
        listContainers: (_, answer) => answer(refused("FAILED_PRECONDITION"), null),
      },
      {
        path: this.path,
        agent: {
          register: ({ request }, answer) => {
            this.registered.push(request);
            this.#change();
            answer(null, { agentId: `agent-${this.registered.length}`, registrationToken: "token" });
          },
          unregister: ({ request }, answer) => {
            this.unregistered.push(request.agentId);
            this.#change();
            answer(null, { success: true });
          },
          streamAgent: (call) => this.#open(call),
        },
      },
    );
  }

  /** Ends every connection, as a server does that is killed. */
  async down(): Promise<void> {
    this.#line = undefined;
    await this.#server?.[Symbol.asyncDispose]();
  }

  /** Puts a question into the conversation, and asks the assistant. */
  async ask(
    text: string,
    correlationId = "c1",
    headers: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const id = `question-${correlationId}`;
    this.messages.push({ id, role: MessageRole.USER, content: text });
    await this.say({
      id,
      type: MessageType.DATA,
      sourceId: "orchestrator",
      payload: { case: "dataMessage", value: { contentType: "text/plain", data: Buffer.from(text) } },
      metadata: { correlationId, sessionId: "s1", headers: { message_id: id, attempt: "1", ...headers } },
    });
  }

  async cancel(correlationId: string): Promise<void> {
    await this.say({
      type: MessageType.CONTROL,
      payload: {
        case: "controlMessage",
        value: {
          command: ControlCommand.CANCEL,
          parameters: { correlation_id: correlationId, reason: "enough" },
        },
      },
      metadata: { correlationId, sessionId: "s1" },
    });
  }

  async say(message: MessageInitShape<typeof AgentMessageSchema>): Promise<void> {
    await this.until(() => this.#line !== undefined);
    this.#line?.write({ payload: { case: "message", value: message } });
  }

  /** What the assistant has said for a question, in order. */
  heard(correlationId = "c1"): readonly Frame[] {
    return this.#heard
      .filter(({ metadata }) => metadata?.correlationId === correlationId)
      .map(({ type, payload }) => {
        const data = payload.case === "dataMessage" ? payload.value : undefined;
        return {
          type: type === MessageType.ERROR ? "error" : "data",
          text: new TextDecoder().decode(data?.data),
          headers: data?.headers ?? {},
        };
      });
  }

  /** Waits for the end of an answer, and gives its text; of an error, its words with `error: ` before them. */
  async answer(correlationId = "c1"): Promise<string> {
    const isEnd = ({ type, headers }: Frame) => type === "error" || headers.final === "true";
    await this.until(() => this.heard(correlationId).some(isEnd));
    const frames = this.heard(correlationId);
    const error = frames.find(({ type }) => type === "error");
    return error === undefined ? frames.map(({ text }) => text).join("") : `error: ${error.text}`;
  }

  /** The TOOL messages that were stored. */
  get toolMessages(): readonly Pick<Message, "content" | "metadata">[] {
    // Stored by the assistant, which sends them whole.
    return this.messages.filter(({ role }) => role === MessageRole.TOOL) as Message[];
  }

  /** Waits until `holds`, looking whenever something came in. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await this.#stack.disposeAsync();
  }

  #open(call: Line): void {
    call.on("error", () => undefined);
    call.once("data", ({ agentId }: StreamAgentRequest) => {
      if (this.forgotten.has(agentId)) return void call.emit("error", refused("NOT_FOUND"));
      call.sendMetadata(new Metadata());
      this.#line = call;
      this.#change();
      call.on("data", ({ payload }: StreamAgentRequest) => {
        if (payload.case === "message") this.#heard.push(payload.value);
        this.#change();
      });
    });
    call.on("end", () => call.end());
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

export interface Frame {
  readonly type: "data" | "error";
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Entries of a page. */
const PAGE = 3;

function refused(code: keyof typeof status): { readonly code: number; readonly details: string } {
  return { code: Number(status[code]), details: `refused with ${code}` };
}
