import type { JsonObject } from "@bufbuild/protobuf";

/** What makes the words of an answer: a language model, or something that needs none. */
export interface Provider {
  /** For logs, such as `echo` or `model qwen3 at http://127.0.0.1:11434/v1`. */
  readonly about: string;
  /** What it is called with an answer, and where a message asks for a model. */
  readonly model: string;
  /** Whether it wants to know what was said before the question. */
  readonly readsConversation: boolean;
  /**
   * One step of an answer: its text as it is made, and the tools that it wants to have called before the next step. A step
   * without a call is the last one.
   *
   * Failures: whatever keeps it from answering, in words for whoever has asked.
   */
  step(asked: Step): AsyncIterable<Piece>;
}

export interface Step {
  /** What frames the conversation; comes before all that was said. */
  readonly instructions: string;
  /** Oldest first; the last one is the question, or what the tools of the step before have given. */
  readonly said: readonly Said[];
  /** None: the answer has to come without. */
  readonly tools: readonly ToolDeclaration[];
  readonly signal: AbortSignal;
}

/** One thing in a conversation. */
export type Said =
  | { readonly by: "user"; readonly text: string }
  | { readonly by: "assistant"; readonly text: string; readonly calls: readonly ToolCall[] }
  | { readonly by: "tools"; readonly results: readonly ToolResult[] };

export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "call"; readonly call: ToolCall }
  /** What the step has used, where that is known: what was read and what was said, in tokens. */
  | { readonly kind: "usage"; readonly tokens: number };

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** As it came, where it is no JSON object. */
  readonly input: JsonObject | string;
}

export interface ToolResult {
  readonly id: string;
  readonly name: string;
  readonly text: string;
}

/** What a model is told of a tool. */
export interface ToolDeclaration {
  readonly name: string;
  readonly about: string;
  /** JSON Schema of its input. */
  readonly input: JsonObject;
}
