import { Bell } from "../events/bell.ts";
import { GatewayMessageRole, type StreamChatRequest } from "../gen/proto/gateway/v1/gateway_pb.ts";

/** How much may be read ahead of what can be taken: frames, and the UTF-16 units of their messages. */
const mostFrames = 64;
const mostText = 1024 * 1024;

/** A frame that waits to be taken, or is being taken. */
interface ReadFrame {
  readonly request: StreamChatRequest;
  /** Why its caller does not want an answer to the question in it any more. */
  givenUp: string | undefined;
}

/**
 * What the client of a StreamChat has sent and the server has not taken yet. It is read ahead, so that a cancel is seen while
 * a question waits for room.
 */
export class ChatFrames {
  readonly #frames: ReadFrame[] = [];
  readonly #come = new Bell();
  readonly #room = new Bell();
  #text = 0;
  #isEnded = false;

  get isEmpty(): boolean {
    return this.#frames.length === 0;
  }

  /** The questions among them, in their order. */
  get questions(): readonly ReadFrame[] {
    return this.#frames.filter(({ request }) => isQuestion(request));
  }

  /** Resolves when more may be read, or the signal has aborted. */
  async put(request: StreamChatRequest, signal: AbortSignal): Promise<void> {
    this.#frames.push({ request, givenUp: undefined });
    this.#text += textOf(request);
    this.#come.ring();
    signal.addEventListener("abort", this.#room.ring, { once: true });
    while ((this.#frames.length >= mostFrames || this.#text >= mostText) && !signal.aborted)
      await this.#room.wait();
    signal.removeEventListener("abort", this.#room.ring);
  }

  /** Nothing more comes. */
  end(): void {
    this.#isEnded = true;
    this.#come.ring();
  }

  /** Has each of them taken, one after the other, until nothing more comes. Rejects with what `take` throws. */
  async takeAll(take: (frame: ReadFrame) => Promise<void>): Promise<void> {
    for (;;) {
      const [frame] = this.#frames;
      if (frame !== undefined) {
        await take(frame);
        this.#frames.shift();
        this.#text -= textOf(frame.request);
        this.#room.ring();
      } else if (this.#isEnded) return;
      else await this.#come.wait();
    }
  }
}

function isQuestion({ payload }: StreamChatRequest): boolean {
  return payload.case === "message" && payload.value.role === GatewayMessageRole.USER;
}

function textOf({ payload }: StreamChatRequest): number {
  return payload.case === "message" ? payload.value.content.length : 0;
}
