import { expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Metadata, type ServerDuplexStream } from "@grpc/grpc-js";
import { askTurn, type TurnEnd } from "../../../src/cli/chat/asked-turn.ts";
import { connect } from "../../../src/client/client.ts";
import {
  type StreamChatRequest,
  type StreamChatResponseSchema,
  StreamState,
} from "../../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { serveRaw } from "../../client/grpc-server.ts";

type Response = MessageInitShape<typeof StreamChatResponseSchema>;
type Chat = ServerDuplexStream<StreamChatRequest, Response>;

/** What one stream gives: its chunks and a status, or a cut. */
interface Given {
  readonly chunks: readonly string[];
  readonly end: { readonly state: StreamState; readonly message?: string; readonly reason?: string } | "cut";
  /** Ends only when it is cancelled. */
  readonly waits?: true;
}

interface Asked {
  readonly end: TurnEnd;
  readonly shown: readonly string[];
  readonly asked: readonly (string | undefined)[];
  readonly interruptions: number;
}

async function asking(streams: readonly Given[], cancel = new AbortController()): Promise<Asked> {
  const asked: (string | undefined)[] = [];
  const rest = [...streams];
  const streamChat = (call: Chat) => {
    const given = rest.shift();
    call.on("error", () => undefined);
    call.on("data", ({ payload }: StreamChatRequest) => {
      if (payload.case === "cancel") {
        call.write(status({ state: StreamState.CANCELLED }));
        call.end();
      }
      if (payload.case !== "message" || given === undefined) return;
      asked.push(`${payload.value.id}: ${payload.value.content}`);
      call.sendMetadata(new Metadata());
      for (const [sequence, text] of given.chunks.entries())
        call.write({ payload: { case: "chunk", value: { sequence, text, isDelta: true } } });
      if (given.waits) return;
      if (given.end === "cut") call.emit("error", { code: 14, details: "cut" });
      else {
        call.write(status(given.end));
        call.end();
      }
    });
  };
  await using server = await serveRaw({}, { gateway: { streamChat } });
  await using client = connect({ address: `unix://${server.path}`, reconnectIntervalMs: 10 });
  const shown: string[] = [];
  let interruptions = 0;
  const end = await askTurn(client, {
    sessionId: "s1",
    messageId: "m1",
    text: "hello",
    cancel: cancel.signal,
    signal: new AbortController().signal,
    onText: async (text) => {
      shown.push(text);
      if (text === "cancel me") cancel.abort();
    },
    onAgain: async () => void shown.push("(again)"),
    onInterrupted: async () => {
      interruptions += 1;
    },
  });
  return { end, shown, asked, interruptions };
}

function status(value: object): Response {
  return { payload: { case: "status", value } };
}

const COMPLETE = { state: StreamState.COMPLETE };

test("askTurn() gives the pieces of an answer as they come", async () => {
  const { end, shown } = await asking([{ chunks: ["Hello ", "world", ""], end: COMPLETE }]);
  expect(shown).toEqual(["Hello ", "world"]);
  expect(end).toEqual({ how: "answered" });
});

test("askTurn() goes on after a cut with the same message, without a gap or a repeat", async () => {
  const { shown, asked, interruptions } = await asking([
    { chunks: ["Hello ", "wor"], end: "cut" },
    { chunks: ["Hel"], end: "cut" },
    { chunks: ["Hello w", "orld!"], end: COMPLETE },
  ]);
  expect(shown).toEqual(["Hello ", "wor", "ld!"]);
  expect(asked).toEqual(["m1: hello", "m1: hello", "m1: hello"]);
  expect(interruptions).toBe(2);
});

test("askTurn() says that the answer begins anew when it is another one", async () => {
  const { shown } = await asking([
    { chunks: ["Hello"], end: "cut" },
    { chunks: ["Good day"], end: COMPLETE },
  ]);
  expect(shown).toEqual(["Hello", "(again)", "Good day"]);
});

test("askTurn() cancels, and says so", async () => {
  const { end } = await asking([{ chunks: ["cancel me"], end: "cut", waits: true }]);
  expect(end).toEqual({ how: "cancelled" });
});

test("askTurn() gives the words of a turn that has failed", async () => {
  const failed = { state: StreamState.ERROR, message: "nobody is there", reason: "NO_ASSISTANT" };
  const { end, shown } = await asking([{ chunks: [], end: failed }]);
  expect(end).toEqual({ how: "failed", words: "nobody is there", reason: "NO_ASSISTANT" });
  expect(shown).toEqual([]);
});
