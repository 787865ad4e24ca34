import type { Client } from "../../src/client/client.ts";
import {
  type AgentMessage,
  AgentType,
  ControlCommand,
  MessageType,
} from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { type OpenLine, openLine, textOf } from "../agents/open-line.ts";

/** A question as an assistant gets it. */
export interface Question {
  readonly text: string;
  readonly message: AgentMessage;
  /** Sends a part of the answer. */
  part(text: string | Uint8Array, headers?: Readonly<Record<string, string>>): void;
  /** Sends the last part. */
  end(text?: string, headers?: Readonly<Record<string, string>>): void;
  /** Answers in one frame without headers, as older assistants do. */
  answer(text: string): void;
  fail(words: string): void;
  /** Says that it is still at it. */
  alive(): void;
  /** Sends a frame with another session's id. */
  other(frame: { readonly sessionId: string; readonly text: string }): void;
}

/** An assistant that a test plays. */
export interface TestAssistant extends AsyncDisposable {
  readonly id: string;
  readonly line: OpenLine;
  question(): Promise<Question>;
  /** The next order to give up a question: its correlation id. */
  cancelled(): Promise<string>;
}

/** Registers an agent named `assistant` and opens its line. */
export async function startAssistant(
  client: Client,
  options: {
    readonly name?: string;
    readonly labels?: Record<string, string>;
    readonly agentId?: string;
  } = {},
): Promise<TestAssistant> {
  const { name = "assistant", labels = {} } = options;
  const id =
    options.agentId ??
    (await client.agent.register({ name, type: AgentType.WORKER, metadata: { labels } })).agentId;
  const line = await openLine(client, id);
  const next = async (type: MessageType) => {
    for (;;) {
      const message = await line.message();
      if (message.type === type) return message;
    }
  };
  return {
    id,
    line,
    question: async () => questionOf(line, await next(MessageType.DATA)),
    cancelled: async () => {
      const { payload, metadata } = await next(MessageType.CONTROL);
      if (payload.case !== "controlMessage" || payload.value.command !== ControlCommand.CANCEL)
        throw new Error("the order was another one");
      return metadata?.correlationId ?? "";
    },
    [Symbol.asyncDispose]: async () => {
      await line[Symbol.asyncDispose]();
      // Otherwise the next question of the same server waits for it to come back.
      await client.agent.unregister({ agentId: id }, { waitForReady: false }).catch(() => {});
    },
  };
}

function questionOf(line: OpenLine, message: AgentMessage): Question {
  let part = 0;
  const frame = (
    type: MessageType,
    data: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
    sessionId = message.metadata?.sessionId ?? "",
  ) =>
    line.send({
      type,
      targetId: "orchestrator",
      payload: {
        case: "dataMessage",
        value: { contentType: "text/plain", data: Buffer.from(data), headers: { ...headers } },
      },
      metadata: {
        correlationId: message.metadata?.correlationId ?? "",
        sessionId,
      },
    });
  const numbered = (headers: Readonly<Record<string, string>>) => ({ part: String(part++), ...headers });
  return {
    text: textOf(message),
    message,
    part: (text, headers = {}) => frame(MessageType.DATA, text, numbered(headers)),
    end: (text = "", headers = {}) => frame(MessageType.DATA, text, numbered({ final: "true", ...headers })),
    answer: (text) => frame(MessageType.DATA, text),
    fail: (words) => frame(MessageType.ERROR, words),
    alive: () =>
      line.send({
        type: MessageType.EVENT,
        targetId: "orchestrator",
        payload: { case: "eventMessage", value: { eventType: "working" } },
        metadata: { correlationId: message.metadata?.correlationId ?? "" },
      }),
    other: ({ sessionId, text }) => frame(MessageType.DATA, text, {}, sessionId),
  };
}
