import type { MessagePayload } from "../agents/agent-message.ts";

/** What a frame of an assistant comes to. */
export type Arrival =
  | { readonly kind: "piece"; readonly text: string; readonly bytes: number }
  /** The last piece, and what the assistant says of the answer. */
  | {
      readonly kind: "whole";
      readonly text: string;
      readonly bytes: number;
      readonly about: Readonly<Record<string, string>>;
    }
  /** It counts for nothing. */
  | { readonly kind: "odd"; readonly why: string }
  /** The answer can't be taken. */
  | { readonly kind: "refused"; readonly why: string };

export interface AnswerLimits {
  /** Of an answer, bytes of UTF-8. */
  readonly maxBytes: number;
  /** Of an answer: each costs memory besides its text. */
  readonly maxParts: number;
}

/** Headers of the last frame that are kept with the answer. */
const kept = ["model", "tokens_used"] as const;

/**
 * An answer as it comes from an assistant: in one frame without headers, or in frames with `part` from 0 on, the last of
 * them with `final`. A character may be cut between two frames.
 */
export class IncomingAnswer {
  readonly #limits: AnswerLimits;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #parts = 0;
  #bytes = 0;
  #isWhole = false;

  constructor(limits: AnswerLimits) {
    this.#limits = limits;
  }

  /** Whether something of its text has come; a part without text is a sign of life. */
  get hasBegun(): boolean {
    return this.#bytes > 0;
  }

  take(frame: Extract<MessagePayload, { readonly kind: "data" }>): Arrival {
    if (this.#isWhole) return { kind: "odd", why: "the answer is whole already" };
    const { contentType, data, headers } = frame;
    if (!isText(contentType)) return { kind: "odd", why: `its content_type is "${contentType}"` };
    const { part, final } = headers;
    if (final !== undefined && final !== "true" && final !== "false")
      return { kind: "odd", why: `its header final is "${final}"; true or false is allowed` };
    const problem = this.#problemOf(part, final);
    if (problem !== undefined) return { kind: "odd", why: problem };
    if (this.#parts >= this.#limits.maxParts)
      return { kind: "refused", why: `it comes in more than ${this.#limits.maxParts} parts` };
    this.#parts += 1;
    this.#isWhole = final === "true" || (part === undefined && final === undefined);
    const text = this.#decoder.decode(data, { stream: !this.#isWhole });
    // As it is stored: each byte that is no UTF-8 has become three.
    const bytes = Buffer.byteLength(text);
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.maxBytes)
      return { kind: "refused", why: `it has more than ${this.#limits.maxBytes} bytes` };
    return this.#isWhole
      ? { kind: "whole", text, bytes, about: aboutOf(headers) }
      : { kind: "piece", text, bytes };
  }

  #problemOf(part: string | undefined, final: string | undefined): string | undefined {
    if (part === undefined) {
      return this.#parts > 0 && final === undefined
        ? "it has no header part, and others before it have"
        : undefined;
    }
    if (!/^\d{1,15}$/.test(part)) return `its header part is "${part.slice(0, 32)}", which is no number`;
    const number = Number(part);
    if (number < this.#parts) return `part ${number} has come before`;
    if (number > this.#parts) return `it is part ${number}, and part ${this.#parts} has not come`;
    return undefined;
  }
}

function isText(contentType: string): boolean {
  return contentType === "" || contentType.startsWith("text/") || contentType.startsWith("application/json");
}

function aboutOf(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const about: Record<string, string> = {};
  for (const name of kept) {
    const value = headers[name];
    if (value !== undefined && value !== "") about[name] = value;
  }
  return about;
}
