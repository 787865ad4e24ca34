import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "../../src/client/call-options.ts";
import type { Client } from "../../src/client/client.ts";
import {
  AgentType,
  type ExecuteTaskRequestSchema,
  type StreamTaskRequestSchema,
  type StreamTaskResponse,
  type TaskState,
  TaskType,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { PushedFrames } from "../client/pushed-frames.ts";

type Frame = MessageInitShape<typeof StreamTaskRequestSchema>;
type Payload = StreamTaskResponse["payload"];

/** One end of a task's stream. */
export interface OpenTask extends AsyncDisposable {
  readonly headers: ReadonlyMap<string, string>;
  send(payload: NonNullable<Frame["payload"]>): void;
  frame(frame: Frame): void;
  input(text: string, more?: { readonly end?: boolean }): void;
  output(text: string): void;
  complete(exitCode?: number): void;
  halfClose(): void;
  /** Breaks the stream off, as a lost connection does. */
  cut(): Promise<void>;
  /** The next frame; undefined when the stream has ended well. */
  next(): Promise<Payload | undefined>;
  /** The next frame of a kind, whatever comes before it. */
  nextOf<Case extends Payload["case"]>(kind: Case): Promise<Extract<Payload, { case: Case }>["value"]>;
  /** All frames up to the end of the stream. */
  rest(): Promise<readonly Payload[]>;
}

/** Opens a task's stream with a first frame, and waits until it is in place. */
export async function openTask(client: Client, first: Frame, options: CallOptions = {}): Promise<OpenTask> {
  const frames = new PushedFrames<Frame>();
  frames.push(first);
  const broken = new AbortController();
  const answers = client.agent.streamTask(frames, { ...options, signal: broken.signal });
  const iterator = answers[Symbol.asyncIterator]();
  const headers = await answers.started();
  const stream: OpenTask = {
    headers,
    frame: (frame) => frames.push(frame),
    send: (payload) => frames.push({ payload }),
    input: (text, { end = false } = {}) =>
      stream.send({ case: "input", value: { data: Buffer.from(text), end } }),
    output: (text) =>
      stream.send({ case: "output", value: { data: Buffer.from(text), streamType: "stdout" } }),
    complete: (exitCode = 0) => stream.send({ case: "complete", value: { result: { exitCode } } }),
    halfClose: () => frames.end(),
    cut: async () => {
      broken.abort();
      await iterator.next().catch(() => undefined); // it ends by the abort
    },
    next: async () => {
      const next = await iterator.next();
      return next.done ? undefined : next.value.payload;
    },
    nextOf: async (kind) => {
      for (;;) {
        const payload = await stream.next();
        if (payload === undefined) throw new Error(`the stream has ended, and no ${kind} has come`);
        if (payload.case === kind) return payload.value as never; // of this kind, as was just seen
      }
    },
    rest: async () => {
      const all: Payload[] = [];
      for (let next = await stream.next(); next !== undefined; next = await stream.next()) all.push(next);
      return all;
    },
    [Symbol.asyncDispose]: async () => {
      frames.end();
      await answers[Symbol.asyncDispose]();
    },
  };
  return stream;
}

/** Registers a worker that can execute code. */
export async function registerWorker(
  client: Client,
  more: { readonly tasks?: readonly string[]; readonly seats?: number; readonly name?: string } = {},
): Promise<{ readonly agentId: string; readonly metadata: Record<string, string> }> {
  const { tasks = ["code-execution"], seats = 1, name = "worker" } = more;
  const { agentId, registrationToken } = await client.agent.register({
    name,
    type: AgentType.WORKER,
    capabilities: { supportedTasks: [...tasks], maxConcurrentTasks: seats },
  });
  return { agentId, metadata: { "x-baaaht-agent-token": registrationToken } };
}

/** Asks for a task that executes code, and gives its id. */
export async function execute(
  client: Client,
  more: Exclude<MessageInitShape<typeof ExecuteTaskRequestSchema>, { $typeName: string }> = {},
): Promise<string> {
  const { type = TaskType.CODE_EXECUTION, config = { command: "true" }, ...rest } = more;
  return (await client.agent.executeTask({ ...rest, type, config })).taskId;
}

export async function stateOf(client: Client, taskId: string): Promise<TaskState | undefined> {
  return (await client.agent.getTaskStatus({ taskId })).task?.state;
}

/** What the frames of a stream have of output, put together. */
export function outputOf(frames: readonly Payload[]): string {
  const data = frames.flatMap((payload) => (payload.case === "output" ? [payload.value.data] : []));
  return Buffer.concat(data).toString();
}
