import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../../src/client/client.ts";
import {
  GatewayMessageRole,
  type GatewaySessionConfigSchema,
  type ResponseChunk,
  type StreamChatRequestSchema,
  type StreamChatResponse,
  type StreamStatus,
} from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { PushedFrames } from "../client/pushed-frames.ts";

type Frame = MessageInitShape<typeof StreamChatRequestSchema>;

/** A turn as a caller of StreamChat sees it. */
interface SeenTurn {
  readonly text: string;
  readonly chunks: readonly ResponseChunk[];
  readonly status: StreamStatus;
}

/** A caller's end of StreamChat. */
export interface OpenChat extends AsyncDisposable {
  readonly sessionId: string;
  ask(content: string, id?: string): void;
  frame(frame: Frame): void;
  cancel(reason?: string, force?: "force"): void;
  halfClose(): void;
  /** The next frame; undefined when the stream has ended well. */
  next(): Promise<StreamChatResponse["payload"] | undefined>;
  /** All up to the end of the next turn. */
  turn(): Promise<SeenTurn>;
}

/** Opens a gateway session. */
export async function gatewaySession(
  client: Client,
  config?: MessageInitShape<typeof GatewaySessionConfigSchema>,
): Promise<string> {
  return (await client.gateway.createGatewaySession(config === undefined ? {} : { config })).sessionId;
}

/** Opens a StreamChat and waits until it is in place. */
export async function openChat(client: Client, sessionId: string): Promise<OpenChat> {
  const frames = new PushedFrames<Frame>();
  frames.push({ sessionId });
  const answers = client.gateway.streamChat(frames);
  const iterator = answers[Symbol.asyncIterator]();
  await answers.started();
  const chat: OpenChat = {
    sessionId,
    ask: (content, id = "") =>
      frames.push({
        payload: { case: "message", value: { id, role: GatewayMessageRole.USER, content } },
      }),
    frame: (frame) => frames.push(frame),
    cancel: (reason = "", force) =>
      frames.push({ payload: { case: "cancel", value: { reason, force: force === "force" } } }),
    halfClose: () => frames.end(),
    next: async () => {
      const next = await iterator.next();
      return next.done ? undefined : next.value.payload;
    },
    turn: async () => {
      const chunks: ResponseChunk[] = [];
      for (;;) {
        const payload = await chat.next();
        if (payload === undefined) throw new Error("the stream has ended in the middle of a turn");
        if (payload.case === "chunk") chunks.push(payload.value);
        if (payload.case === "status")
          return { text: chunks.map(({ text }) => text).join(""), chunks, status: payload.value };
      }
    },
    [Symbol.asyncDispose]: async () => {
      frames.end();
      await answers[Symbol.asyncDispose]();
    },
  };
  return chat;
}
