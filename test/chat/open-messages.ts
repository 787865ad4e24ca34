import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../../src/client/client.ts";
import {
  type Event,
  type EventType,
  MessageRole,
  type StreamMessageRequestSchema,
  type StreamMessageResponse,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { PushedFrames } from "../client/pushed-frames.ts";

type Frame = MessageInitShape<typeof StreamMessageRequestSchema>;

/** A caller's end of StreamMessages. */
export interface OpenMessages extends AsyncDisposable {
  frame(frame: Frame): void;
  say(content: string, id?: string, role?: MessageRole): void;
  halfClose(): void;
  /** The next frame; undefined when the stream has ended well. */
  next(): Promise<StreamMessageResponse["payload"] | undefined>;
  /** The next event of a type, whatever is before it. */
  event(type: EventType): Promise<Event>;
  /** All frames up to the end of the stream. */
  rest(): Promise<readonly StreamMessageResponse["payload"][]>;
}

/** Opens a StreamMessages by its first frame and waits until it is in place. */
export async function openMessages(client: Client, first: Frame): Promise<OpenMessages> {
  const frames = new PushedFrames<Frame>();
  frames.push(first);
  const answers = client.orchestrator.streamMessages(frames);
  const iterator = answers[Symbol.asyncIterator]();
  await answers.started();
  const stream: OpenMessages = {
    frame: (frame) => frames.push(frame),
    say: (content, id = "", role = MessageRole.USER) =>
      frames.push({ payload: { case: "message", value: { id, role, content } } }),
    halfClose: () => frames.end(),
    next: async () => {
      const next = await iterator.next();
      return next.done ? undefined : next.value.payload;
    },
    event: async (type) => {
      for (;;) {
        const payload = await stream.next();
        if (payload === undefined) throw new Error("the stream has ended without this event");
        if (payload.case === "event" && payload.value.type === type) return payload.value;
      }
    },
    rest: async () => {
      const all: StreamMessageResponse["payload"][] = [];
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
