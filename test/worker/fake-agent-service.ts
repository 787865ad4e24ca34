import type { MessageInitShape } from "@bufbuild/protobuf";
import { Metadata, type ServerDuplexStream, status } from "@grpc/grpc-js";
import {
  type AgentMessageSchema,
  MessageType,
  type RegisterRequest,
  type StreamAgentRequest,
  type StreamAgentResponseSchema,
  type StreamTaskRequest,
  type StreamTaskResponseSchema,
  type TaskOutput,
  type TaskSchema,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { freshFolder, serveRaw } from "../client/grpc-server.ts";

type TaskCall = ServerDuplexStream<StreamTaskRequest, MessageInitShape<typeof StreamTaskResponseSchema>>;
type AgentCall = ServerDuplexStream<StreamAgentRequest, MessageInitShape<typeof StreamAgentResponseSchema>>;
type Given = MessageInitShape<typeof TaskSchema> & { readonly id: string };

/**
 * The server's part of what a worker needs, on grpc-js alone: it hands out what a test gives it, and keeps what the worker
 * says. It decides nothing.
 */
export class FakeAgentService implements AsyncDisposable {
  readonly registered: RegisterRequest[] = [];
  readonly unregistered: string[] = [];
  readonly heartbeats: { readonly agentId: string; readonly activeTasks: readonly string[] }[] = [];
  /** The calls that a worker has opened for a task, oldest first. */
  readonly streams = new Map<string, FakeTaskStream[]>();
  pending: string[] = [];
  /** Whether it ends a task's stream when the worker has half-closed it. */
  endsStreams = true;
  /** Agents that it does not know any more. */
  readonly forgotten = new Set<string>();
  #lines: AgentCall[] = [];
  readonly #tasks = new Map<string, Given>();
  readonly #stack = new AsyncDisposableStack();
  #server: AsyncDisposable | undefined;
  #changed = Promise.withResolvers<void>();
  path = "";

  static async start(): Promise<FakeAgentService> {
    const service = new FakeAgentService();
    const folder = service.#stack.use(await freshFolder());
    service.path = `${folder.path}/s.sock`;
    await service.up();
    return service;
  }

  /** Listens, again after `down`. */
  async up(): Promise<void> {
    this.#server = await serveRaw(
      {},
      {
        path: this.path,
        agent: {
          register: ({ request }, answer) => {
            this.registered.push(request);
            this.change();
            answer(null, {
              agentId: `agent-${this.registered.length}`,
              registrationToken: `token-${this.registered.length}`,
            });
          },
          unregister: ({ request }, answer) => {
            this.unregistered.push(request.agentId);
            this.change();
            answer(null, { success: true });
          },
          heartbeat: ({ request }, answer) => {
            if (this.forgotten.has(request.agentId)) return answer(refused("NOT_FOUND"), null);
            this.heartbeats.push(request);
            this.change();
            answer(null, { pendingTasks: this.pending });
          },
          getTaskStatus: ({ request }, answer) =>
            answer(null, { task: this.#tasks.get(request.taskId) ?? {} }),
          streamAgent: (call) => this.#line(call),
          streamTask: (call) => this.#taskStream(call),
        },
      },
    );
  }

  /** Ends every connection, as a server does that is killed. */
  async down(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#lines = [];
  }

  /** A task to be given by `pending` or by `give`. */
  add(task: Given): void {
    this.#tasks.set(task.id, task);
  }

  /** Hands a task to the worker over its line, when that is open. */
  async give(task: Given, attempt = "1"): Promise<void> {
    this.add(task);
    await this.say({
      type: MessageType.TASK_REQUEST,
      metadata: { headers: { attempt } },
      payload: { case: "taskMessage", value: { taskId: task.id } },
    });
  }

  async say(message: MessageInitShape<typeof AgentMessageSchema>): Promise<void> {
    await this.until(() => this.#lines.length > 0);
    this.#lines.at(-1)?.write({ payload: { case: "message", value: message } });
  }

  /** Waits for the `nth` stream of a task. */
  async stream(taskId: string, nth = 1): Promise<FakeTaskStream> {
    await this.until(() => (this.streams.get(taskId)?.length ?? 0) >= nth);
    const stream = this.streams.get(taskId)?.[nth - 1];
    if (stream === undefined) throw new Error(`there is no stream ${nth} of ${taskId}`);
    return stream;
  }

  /** Waits until `holds`, looking whenever something came in. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed.promise;
  }

  change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await this.#stack.disposeAsync();
  }

  #line(call: AgentCall): void {
    call.on("error", () => undefined);
    call.once("data", ({ agentId }: StreamAgentRequest) => {
      if (this.forgotten.has(agentId)) return void call.emit("error", refused("NOT_FOUND"));
      call.sendMetadata(new Metadata());
      this.#lines.push(call);
      this.change();
    });
    call.on("end", () => call.end());
    call.on("cancelled", () => {
      this.#lines = this.#lines.filter((other) => other !== call);
    });
  }

  #taskStream(call: TaskCall): void {
    call.on("error", () => undefined);
    call.once("data", (first: StreamTaskRequest) => {
      const before = this.streams.get(first.taskId) ?? [];
      const stream = new FakeTaskStream(call, first, () => this.change());
      call.on("end", () => this.endsStreams && call.end());
      this.streams.set(first.taskId, [...before, stream]);
      const headers = new Metadata();
      headers.set("x-baaaht-attempt", String(stream.attempt ?? "1"));
      headers.set("x-baaaht-output-bytes", String(before.reduce((sum, one) => sum + one.outputBytes, 0)));
      call.sendMetadata(headers);
      this.change();
    });
  }
}

/** One call of a worker for a task. */
export class FakeTaskStream {
  readonly frames: StreamTaskRequest[];
  isHalfClosed = false;
  isCancelled = false;
  readonly token: unknown;
  readonly attempt: unknown;
  readonly #call: TaskCall;
  readonly #changed: () => void;

  constructor(call: TaskCall, first: StreamTaskRequest, changed: () => void) {
    this.#call = call;
    this.frames = [first];
    this.#changed = changed;
    this.token = call.metadata.get("x-baaaht-agent-token")[0];
    this.attempt = call.metadata.get("x-baaaht-attempt")[0];
    call.on("data", (frame: StreamTaskRequest) => {
      this.frames.push(frame);
      changed();
    });
    call.on("end", () => {
      this.isHalfClosed = true;
      changed();
    });
    call.on("cancelled", () => {
      this.isCancelled = true;
      changed();
    });
  }

  send(payload: NonNullable<MessageInitShape<typeof StreamTaskResponseSchema>["payload"]>): void {
    this.#call.write({ payload });
  }

  input(text: string, { end = false } = {}): void {
    this.send({ case: "output", value: { data: new TextEncoder().encode(text), streamType: "stdin", end } });
  }

  end(): void {
    this.#call.end();
  }

  refuse(code: keyof typeof status): void {
    this.#call.emit("error", refused(code));
  }

  /** Stops reading what the worker sends. */
  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
    this.#changed();
  }

  /** All output of one kind so far. */
  output(streamType = "stdout"): string {
    return Buffer.concat(
      this.frames.flatMap(({ payload }) =>
        payload.case === "output" && payload.value.streamType === streamType ? bytesOf(payload.value) : [],
      ),
    ).toString();
  }

  get outputBytes(): number {
    return this.frames.reduce(
      (sum, { payload }) =>
        sum + (payload.case === "output" ? Buffer.concat(bytesOf(payload.value)).byteLength : 0),
      0,
    );
  }

  /** How the worker says that it ended. */
  get last(): StreamTaskRequest["payload"] | undefined {
    const payload = this.frames.at(-1)?.payload;
    return payload?.case === "complete" || payload?.case === "errorMsg" ? payload : undefined;
  }
}

function bytesOf({ data, text }: TaskOutput): readonly Uint8Array[] {
  return [data, Buffer.from(text)];
}

function refused(code: keyof typeof status): { readonly code: number; readonly details: string } {
  return { code: Number(status[code]), details: `refused with ${code}` };
}
