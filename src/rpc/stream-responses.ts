import type { MessageInitShape } from "@bufbuild/protobuf";
import { AnswerReader } from "../chat/answer-reader.ts";
import type { Chat } from "../chat/chat.ts";
import type { GatewaySession } from "../chat/gateway-session.ts";
import type { LiveTurn } from "../chat/live-turn.ts";
import { Bell } from "../events/bell.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import type {
  StreamOptions,
  StreamResponsesRequest,
  StreamResponsesResponseSchema,
} from "../gen/proto/gateway/v1/gateway_pb.ts";
import type { Messages } from "../messages/messages.ts";
import type { Call } from "./call.ts";
import { burst, chunkFrames } from "./chunk-frames.ts";
import type { Encoded } from "./encoded.ts";
import { toWireStreamStatus, toWireUnasked } from "./wire-gateway.ts";

type Response = MessageInitShape<typeof StreamResponsesResponseSchema> | Encoded;

export interface StreamResponsesParts {
  readonly chat: Chat;
  readonly messages: Messages;
  readonly session: GatewaySession;
  readonly call: Call;
  /** Whether the session takes no more questions. */
  readonly isClosed: () => Promise<boolean>;
}

/** How long a stream is without a frame before it gets a heartbeat, in milliseconds. */
const heartbeatMs = 15_000;

/** How many answers may have begun since a client has last read. */
const maxBehind = 1_000;

/** Sends the answer to one question, or those to come. */
export async function* streamResponses(
  parts: StreamResponsesParts,
  request: StreamResponsesRequest,
): AsyncGenerator<Response, void, undefined> {
  const chunkSize = chunkSizeOf(request.options);
  if (request.messageId !== "") yield* oneAnswer(parts, request, chunkSize);
  else yield* answersToCome(parts, request.options, chunkSize);
}

async function* oneAnswer(
  parts: StreamResponsesParts,
  request: StreamResponsesRequest,
  chunkSize: number,
): AsyncGenerator<Response, void, undefined> {
  const { chat, messages, session, call } = parts;
  const turn = await chat.turn(session.id, request.messageId);
  if (turn !== undefined) {
    call.open();
    yield* answer(parts, turn, { options: request.options, chunkSize });
    return;
  }
  const message = await messages.get(session.id, request.messageId);
  if (message.role !== "user") {
    const description = `is a message of role ${message.role.toUpperCase()}, which nobody answers`;
    throw invalid("stream the answer", [{ field: "message_id", description }]);
  }
  yield { payload: toWireUnasked(message) } as Response; // a question's is a status
}

async function* answersToCome(
  parts: StreamResponsesParts,
  options: StreamOptions | undefined,
  chunkSize: number,
): AsyncGenerator<Response, void, undefined> {
  const { chat, session, call } = parts;
  const bell = new Bell();
  // What was answered meanwhile is read when its turn comes; who is behind holds ids, and no answers.
  const behind = new Map<string, LiveTurn | undefined>();
  let underWay = "";
  const note = (turn: LiveTurn) => {
    const { messageId } = turn;
    // One that was given to another assistant begins once more, and is the same.
    if (messageId === underWay || behind.has(messageId)) return;
    if (behind.size <= maxBehind) behind.set(messageId, turn.over === undefined ? undefined : turn);
    bell.ring();
  };
  const stops = [chat.follow(session.id, note), chat.onClosing(session.id, bell.ring)];
  call.signal.addEventListener("abort", bell.ring, { once: true });
  try {
    const running = chat.running(session.id);
    if (running !== undefined) note(running);
    call.open();
    for (;;) {
      if (call.signal.aborted) throw abortFailure(call.signal);
      if (behind.size > maxBehind) throw tooFarBehind();
      const [next] = behind;
      if (next !== undefined) {
        const [messageId, ended] = next;
        underWay = messageId;
        behind.delete(messageId);
        const turn = ended ?? (await chat.turn(session.id, messageId));
        if (turn !== undefined) yield* answer(parts, turn, { options, chunkSize });
        continue;
      }
      if (await parts.isClosed()) return;
      const waitedFrom = performance.now();
      await bell.wait(heartbeatMs);
      if (performance.now() - waitedFrom >= heartbeatMs) yield { payload: { case: "heartbeat", value: {} } };
    }
  } finally {
    for (const stop of stops) stop();
  }
}

/** An answer with its end; with `include_events` also what it goes through before. */
async function* answer(
  { session, call }: StreamResponsesParts,
  turn: LiveTurn,
  how: { readonly options: StreamOptions | undefined; readonly chunkSize: number },
): AsyncGenerator<Response, void, undefined> {
  const { config } = session.gateway;
  const { includeEvents = false, includeMetadata = false } = how.options ?? {};
  const reader = new AnswerReader(turn, {
    maxBytes: how.chunkSize === 0 ? config.chunkSize : how.chunkSize,
    when: config.enableStreaming ? "made" : "whole",
  });
  const frame = chunkFrames({ delta: config.enableDelta, metadata: includeMetadata ? "with" : "without" });
  const delayMs = Number(config.chunkDelayNs) / 1e6;
  const bell = new Bell();
  const stop = turn.listen(bell.ring);
  call.signal.addEventListener("abort", bell.ring, { once: true });
  let told: unknown;
  let nextMs = 0;
  try {
    for (;;) {
      if (call.signal.aborted) throw abortFailure(call.signal);
      const status = toWireStreamStatus(turn, reader);
      if (includeEvents && turn.over === undefined && status.state !== told) {
        told = status.state;
        yield { payload: { case: "status", value: status } };
        continue;
      }
      const now = performance.now();
      if (nextMs - now >= 1 && turn.over?.end.kind !== "cancelled") {
        await bell.wait(nextMs - now);
        continue;
      }
      const next = reader.next();
      if (next === "over") {
        yield { payload: { case: "status", value: toWireStreamStatus(turn, reader) } };
        return;
      }
      if (next === "wait") {
        await bell.wait(heartbeatMs);
        if (performance.now() - now >= heartbeatMs) yield { payload: { case: "heartbeat", value: {} } };
      } else {
        if (delayMs > 0) nextMs = Math.max(now, nextMs) + delayMs;
        yield frame(next);
        if (next.sequence % burst === burst - 1) await new Promise((resolve) => setImmediate(resolve));
      }
    }
  } finally {
    stop();
    call.signal.removeEventListener("abort", bell.ring);
  }
}

function chunkSizeOf(options: StreamOptions | undefined): number {
  const size = options?.chunkSize ?? 0n;
  if (size >= 0n) return Number(size);
  throw invalid("stream the answer", [
    { field: "options.chunk_size", description: `is ${size}; it can't be negative (0 means the session's)` },
  ]);
}

function tooFarBehind(): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the answers: ${maxBehind} have begun that the client has not read`,
    { reason: "CLIENT_STALLED" },
  );
}
