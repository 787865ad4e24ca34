import type { Client } from "../../client/client.ts";
import { FrameQueue } from "../../client/frame-queue.ts";
import { Failure } from "../../failure.ts";
import { type Event, EventType, MessageRole } from "../../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Asking, TurnEnd } from "./asked-turn.ts";

/** The response header with the place in the log at which a stream began. */
const CURSOR_HEADER = "x-baaaht-cursor";

/** How many of a session's newest messages an answer is looked for in. */
const LOOK_BACK = 50;

/**
 * A question to a session that no user interface has opened: its answer comes whole, and it can be left, not cancelled. What
 * was asked is joined again after a lost connection, from where the log was.
 */
export class PlainTurn {
  wasOpen = false;
  readonly #asking: Asking;
  #cursor = "";

  constructor(asking: Asking) {
    this.#asking = asking;
  }

  /** One stream, to the turn's end. */
  async follow(client: Client, isOpen: () => void): Promise<TurnEnd> {
    const { sessionId, messageId, text, cancel, signal } = this.#asking;
    const message = { id: messageId, role: MessageRole.USER, content: text };
    const frames = new FrameQueue<object>();
    using _closing = { [Symbol.dispose]: () => frames.close() };
    void frames.push({ sessionId, resumeAfter: this.#cursor, payload: { case: "message", value: message } });
    await using answers = client.orchestrator.streamMessages(frames, {
      signal: AbortSignal.any([signal, cancel]),
      ...(this.wasOpen && { waitForReady: false }), // the pauses between attempts are the caller's
    });
    try {
      const headers = await answers.started();
      if (this.#cursor === "") this.#cursor = headers.get(CURSOR_HEADER) ?? "";
      this.wasOpen = true;
      isOpen();
      for await (const { payload } of answers) {
        if (payload.case !== "event") continue;
        const end = await this.#heard(client, payload.value);
        if (end !== undefined) return end;
      }
    } catch (error) {
      if (cancel.aborted && !signal.aborted) return { how: "cancelled" };
      throw error;
    }
    throw new Failure("unavailable", "Cannot follow the answer: the stream has ended before it");
  }

  async #heard(client: Client, { type, data, cursor }: Event): Promise<TurnEnd | undefined> {
    const { sessionId, messageId, onText, signal } = this.#asking;
    if (cursor !== "") this.#cursor = cursor;
    if (data.message_id !== messageId) return undefined;
    switch (type) {
      case EventType.TURN_ANSWERED: {
        const { messages } = await client.orchestrator.listMessages(
          { sessionId, newestFirst: true, pageSize: LOOK_BACK },
          { signal },
        );
        await onText(messages.find(({ id }) => id === data.answer_id)?.content ?? "");
        return { how: "answered" };
      }
      case EventType.TURN_FAILED:
        return { how: "failed", words: data.error ?? "", reason: data.reason ?? "" };
      case EventType.TURN_CANCELLED:
        return { how: "cancelled" };
      default:
        return undefined;
    }
  }
}
