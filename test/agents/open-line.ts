import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "../../src/client/call-options.ts";
import type { Client } from "../../src/client/client.ts";
import {
  type AgentMessage,
  type AgentMessageSchema,
  MessageType,
  type StreamAgentRequestSchema,
  type StreamAgentResponse,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { PushedFrames } from "../client/pushed-frames.ts";

type Frame = MessageInitShape<typeof StreamAgentRequestSchema>;

/** An agent's end of a line. */
export interface OpenLine extends AsyncDisposable {
  readonly headers: ReadonlyMap<string, string>;
  frame(frame: Frame): void;
  send(message: MessageInitShape<typeof AgentMessageSchema>): void;
  /** Sends text to another agent. */
  say(targetId: string, text: string, correlationId?: string): void;
  beat(): void;
  /** Sends no more. */
  halfClose(): void;
  /** The next frame; undefined when the line has ended well. */
  next(): Promise<StreamAgentResponse["payload"] | undefined>;
  /** The next message, whatever heartbeats are before it. */
  message(): Promise<AgentMessage>;
}

/** Opens the line of an agent and waits until it is in place. */
export async function openLine(
  client: Client,
  agentId: string,
  options: CallOptions = {},
): Promise<OpenLine> {
  const frames = new PushedFrames<Frame>();
  frames.push({ agentId });
  const answers = client.agent.streamAgent(frames, options);
  const iterator = answers[Symbol.asyncIterator]();
  const headers = await answers.started();
  const line: OpenLine = {
    headers,
    frame: (frame) => frames.push(frame),
    send: (message) => frames.push({ payload: { case: "message", value: message } }),
    say: (targetId, text, correlationId = "") => line.send({ targetId, ...words(text, correlationId) }),
    beat: () => frames.push({ payload: { case: "heartbeat", value: {} } }),
    halfClose: () => frames.end(),
    next: async () => {
      const next = await iterator.next();
      return next.done ? undefined : next.value.payload;
    },
    message: async () => {
      for (;;) {
        const payload = await line.next();
        if (payload === undefined) throw new Error("the line has ended, and no message has come");
        if (payload.case === "message") return payload.value;
      }
    },
    [Symbol.asyncDispose]: async () => {
      frames.end();
      await answers[Symbol.asyncDispose]();
    },
  };
  return line;
}

/** A message of type DATA. */
function words(text: string, correlationId = ""): MessageInitShape<typeof AgentMessageSchema> {
  return {
    type: MessageType.DATA,
    payload: { case: "dataMessage", value: { contentType: "text/plain", data: Buffer.from(text) } },
    metadata: { correlationId },
  };
}

/** What a message of type DATA or ERROR says. */
export function textOf(message: AgentMessage): string {
  return message.payload.case === "dataMessage" ? Buffer.from(message.payload.value.data).toString() : "";
}
