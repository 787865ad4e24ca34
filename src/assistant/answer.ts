import type { SendOnLine } from "../client/agent-line.ts";
import { Failure } from "../failure.ts";
import { MessageType } from "../gen/proto/agent/v1/agent_pb.ts";

export interface AnswerOptions {
  readonly agentId: string;
  readonly sessionId: string;
  /** Of the question; joins the answer to it. */
  readonly correlationId: string;
  readonly maxBytes: number;
  readonly send: SendOnLine;
}

/** An answer on its way to the server: DATA frames that are numbered by their header `part`, the last of them `final`. */
export class Answer {
  readonly #options: AnswerOptions;
  #parts = 0;
  #bytes = 0;
  #endsLine = true;

  constructor(options: AnswerOptions) {
    this.#options = options;
  }

  /** How much was sent, bytes of UTF-8. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Sends a piece of text. Failures: RESOURCE_EXHAUSTED when the answer gets too long. */
  async say(text: string): Promise<void> {
    if (text === "") return;
    const { maxBytes } = this.#options;
    const data = Buffer.from(text.toWellFormed());
    if (this.#bytes + data.byteLength > maxBytes)
      throw new Failure(
        "resource_exhausted",
        `Cannot go on with the answer: it has more than ${maxBytes} bytes`,
        {
          reason: "ANSWER_TOO_LONG",
        },
      );
    this.#bytes += data.byteLength;
    this.#endsLine = text.endsWith("\n");
    await this.#frame(data, {});
  }

  /** What comes from here on stands in a paragraph of its own. */
  async paragraph(): Promise<void> {
    if (this.#bytes > 0) await this.say(this.#endsLine ? "\n" : "\n\n");
  }

  /** Says that it goes on, to a server that waits for only so long. */
  async goesOn(): Promise<void> {
    await this.#frame(new Uint8Array(0), {});
  }

  /** Says that this was all of it. `about`: `model` and `tokens_used`, where they are known. */
  async end(about: Readonly<Record<string, string>>): Promise<void> {
    await this.#frame(new Uint8Array(0), { ...about, final: "true" });
  }

  /** Says why there is no answer. */
  async fail(words: string): Promise<void> {
    await this.#send(MessageType.ERROR, Buffer.from(words.toWellFormed()), {});
  }

  async #frame(data: Uint8Array, headers: Readonly<Record<string, string>>): Promise<void> {
    const part = String(this.#parts);
    this.#parts += 1;
    await this.#send(MessageType.DATA, data, { ...headers, part });
  }

  async #send(type: MessageType, data: Uint8Array, headers: Readonly<Record<string, string>>): Promise<void> {
    const { agentId, sessionId, correlationId, send } = this.#options;
    await send({
      type,
      sourceId: agentId,
      targetId: "orchestrator",
      payload: { case: "dataMessage", value: { contentType: "text/plain", data, headers } },
      metadata: { correlationId, sessionId },
    });
  }
}
