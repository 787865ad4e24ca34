import type { MessageInitShape } from "@bufbuild/protobuf";
import { backoffMs, pause } from "../../client/backoff.ts";
import type { Client } from "../../client/client.ts";
import { FrameQueue } from "../../client/frame-queue.ts";
import { Failure } from "../../failure.ts";
import {
  GatewayMessageRole,
  type StreamChatRequestSchema,
  StreamState,
  type StreamStatus,
} from "../../gen/proto/gateway/v1/gateway_pb.ts";

type Frame = MessageInitShape<typeof StreamChatRequestSchema>;

export interface Asking {
  readonly sessionId: string;
  /** A new one; what has it already is joined. */
  readonly messageId: string;
  readonly text: string;
  /** Its abort cancels the turn, which then ends as `cancelled`. */
  readonly cancel: AbortSignal;
  /** Its abort leaves the turn alone, and throws. */
  readonly signal: AbortSignal;
  /** Each piece of the answer, in order and once. */
  readonly onText: (text: string) => Promise<void>;
  /** The answer is not what it was so far: it begins anew. */
  readonly onAgain: () => Promise<void>;
  readonly onInterrupted: (failure: Failure) => Promise<void>;
}

/** How a question was answered. */
export type TurnEnd =
  | { readonly how: "answered" }
  | { readonly how: "cancelled" }
  | { readonly how: "failed"; readonly words: string; readonly reason: string };

/**
 * Asks a question and follows its answer to its end, over lost connections and restarts of the server: the message has an
 * id, so that to send it again joins its turn, and what was shown of the answer before is not given again.
 *
 * Failures: the server's, where asking again does not help.
 */
export async function askTurn(client: Client, asking: Asking): Promise<TurnEnd> {
  return await followed(client, asking, new AskedTurn(asking));
}

/** A turn that may have to be joined several times. */
export interface JoinedTurn {
  /** Whether a stream was there before. */
  readonly wasOpen: boolean;
  /** One stream, to the turn's end. */
  follow(client: Client, isOpen: () => void): Promise<TurnEnd>;
}

/** Follows a turn to its end, and joins it again when its connection was lost. */
export async function followed(client: Client, asking: Asking, turn: JoinedTurn): Promise<TurnEnd> {
  for (let failures = 0; ; ) {
    try {
      return await turn.follow(client, () => {
        failures = 0;
      });
    } catch (error) {
      const failure = Failure.from(error);
      if (failure?.kind !== "unavailable" || asking.signal.aborted || !turn.wasOpen) throw error;
      failures += 1;
      const { maxAttempts, intervalMs } = client.reconnect;
      if (maxAttempts > 0 && failures > maxAttempts) throw error;
      if (failures === 1) await asking.onInterrupted(failure);
      await pause(backoffMs(failures, { maxMs: intervalMs, random: Math.random() }), asking.signal);
    }
  }
}

class AskedTurn {
  /** Whether a stream was there before. */
  wasOpen = false;
  readonly #asking: Asking;
  /** What was given of the answer. */
  #given = "";

  constructor(asking: Asking) {
    this.#asking = asking;
  }

  /** One stream, to the turn's end. */
  async follow(client: Client, isOpen: () => void): Promise<TurnEnd> {
    const { sessionId, messageId, text, cancel, signal } = this.#asking;
    const frames = new FrameQueue<Frame>();
    const sendCancel = () => void frames.push({ payload: { case: "cancel", value: { reason: "Ctrl-C" } } });
    cancel.addEventListener("abort", sendCancel, { once: true });
    using _closing = {
      [Symbol.dispose]: () => {
        cancel.removeEventListener("abort", sendCancel);
        frames.close();
      },
    };
    const message = { id: messageId, role: GatewayMessageRole.USER, content: text };
    void frames.push({ sessionId, payload: { case: "message", value: message } });
    if (cancel.aborted) sendCancel();
    await using answers = client.gateway.streamChat(frames, {
      signal,
      ...(this.wasOpen && { waitForReady: false }), // the pauses between attempts are ours
    });
    await answers.started();
    this.wasOpen = true;
    isOpen();
    let answer = "";
    for await (const { payload } of answers) {
      if (payload.case === "chunk") {
        const { text: piece, isDelta } = payload.value;
        answer = isDelta ? answer + piece : piece;
        await this.#give(answer);
      } else if (payload.case === "status") {
        const end = endOf(payload.value);
        if (end !== undefined) return end;
      }
    }
    throw new Failure("unavailable", "Cannot follow the answer: the stream has ended before it");
  }

  /** Gives what is new of the answer so far. */
  async #give(answer: string): Promise<void> {
    const { onText, onAgain } = this.#asking;
    if (this.#given.startsWith(answer)) return; // still on its way to where it was
    if (!answer.startsWith(this.#given)) {
      // The server has asked once more, and the words are others.
      await onAgain();
      this.#given = "";
    }
    const piece = answer.slice(this.#given.length);
    this.#given = answer;
    await onText(piece);
  }
}

function endOf({ state, message, reason }: StreamStatus): TurnEnd | undefined {
  switch (state) {
    case StreamState.COMPLETE:
      return { how: "answered" };
    case StreamState.CANCELLED:
      return { how: "cancelled" };
    case StreamState.ERROR:
      return { how: "failed", words: message, reason };
    default:
      return undefined;
  }
}
