import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { JsonObject } from "@bufbuild/protobuf";
import {
  type AssistantContent,
  jsonSchema,
  type ModelMessage,
  streamText,
  type TextStreamPart,
  type ToolSet,
} from "ai";
import { abortFailure, Failure } from "../failure.ts";
import { modelFailure } from "./model-failure.ts";
import type { Piece, Provider, Said, Step, ToolDeclaration } from "./provider.ts";
import { shownUrl } from "./shown-url.ts";

export interface ModelOptions {
  /** Of a server that speaks the OpenAI protocol, such as `http://127.0.0.1:11434/v1`. A password in it is shown nowhere. */
  readonly baseUrl: string;
  readonly model: string;
  /** Empty: the server wants none. Shown nowhere. */
  readonly key: string;
  /** How often a request is repeated that was refused for a while, or did not arrive. */
  readonly retries: number;
  /** Of one step of an answer. */
  readonly maxAnswerTokens: number;
}

/** Asks a language model. To be imported when it is needed: what this file brings with it takes its time to load. */
export function modelProvider(options: ModelOptions): Provider {
  const { baseUrl, model, key, retries, maxAnswerTokens } = options;
  const server = createOpenAICompatible({
    name: "assistant",
    baseURL: baseUrl,
    ...(key === "" ? {} : { apiKey: key }),
  });
  return {
    about: `model ${model} at ${shownUrl(baseUrl)}`,
    model,
    readsConversation: true,
    async *step({ instructions, said, tools, signal }: Step) {
      const { stream } = streamText({
        model: server(model),
        instructions,
        messages: said.map(messageOf),
        tools: Object.fromEntries(tools.map(declared)),
        maxRetries: retries,
        maxOutputTokens: maxAnswerTokens,
        abortSignal: signal,
        onError: () => {}, // it comes in the stream too
      });
      try {
        yield* pieces(stream, { signal, maxAnswerTokens });
      } catch (error) {
        if (signal.aborted) throw abortFailure(signal);
        throw modelFailure(error, options);
      }
    },
  };
}

function declared({ name, about, input }: ToolDeclaration): [string, ToolSet[string]] {
  return [name, { description: about, inputSchema: jsonSchema(input) }];
}

async function* pieces(
  stream: AsyncIterable<TextStreamPart<ToolSet>>,
  { signal, maxAnswerTokens }: { readonly signal: AbortSignal; readonly maxAnswerTokens: number },
): AsyncGenerator<Piece, void, undefined> {
  let isSilent = true;
  let isLastStep = true;
  for await (const part of stream) {
    switch (part.type) {
      case "text-delta":
        if (part.text === "") break;
        isSilent = false;
        yield { kind: "text", text: part.text };
        break;
      case "tool-call":
        isSilent = false;
        isLastStep = false;
        // One that can't be right is passed on too: the tools say what is wrong with it, and the model may try again.
        yield {
          kind: "call",
          call: { id: part.toolCallId, name: part.toolName, input: inputOf(part.input) },
        };
        break;
      case "abort":
        throw abortFailure(signal);
      case "error":
        throw part.error;
      case "finish": {
        const { finishReason, rawFinishReason: why = finishReason, totalUsage } = part;
        // A refusal in the model's own words is called so too, and is an answer.
        if (finishReason === "content-filter" && why !== "stop") throw filteredOut();
        if (finishReason === "error" || why === "error") throw new Error(`it ended with "${why}"`);
        if (isSilent) throw saidNothing(why);
        // After a call there is another step: the model is told what was wrong with one that was cut.
        if (finishReason === "length" && isLastStep) yield { kind: "text", text: cutWords(maxAnswerTokens) };
        // Not asked for: some servers refuse a request that asks, and others count without.
        const { totalTokens: tokens } = totalUsage;
        if (tokens !== undefined && Number.isSafeInteger(tokens) && tokens > 0)
          yield { kind: "usage", tokens };
        break;
      }
    }
  }
}

/** What stands behind an answer that the model could not end. Its own room may be over before ours is. */
function cutWords(maxAnswerTokens: number): string {
  return `\n\n[The answer is cut here: the model has reached the most that it can or may say, ${maxAnswerTokens} tokens or less.]`;
}

function filteredOut(): Failure {
  const words = "Cannot answer: the content filter of the model's server has stopped the answer";
  return new Failure("unknown", words, { reason: "MODEL_FILTERED" });
}

function saidNothing(why: string): Failure {
  return new Failure("unknown", `Cannot answer: the model has said nothing (it ended with "${why}")`, {
    reason: "MODEL_SILENT",
  });
}

function inputOf(input: unknown): JsonObject | string {
  if (typeof input === "string") return input;
  // It was parsed from JSON.
  if (typeof input === "object" && input !== null && !Array.isArray(input)) return input as JsonObject;
  return JSON.stringify(input) ?? "";
}

function messageOf(said: Said): ModelMessage {
  switch (said.by) {
    case "user":
      return { role: "user", content: said.text };
    case "assistant":
      return { role: "assistant", content: contentOf(said) };
    case "tools":
      return {
        role: "tool",
        content: said.results.map(({ id, name, text }) => ({
          type: "tool-result",
          toolCallId: id,
          toolName: name,
          output: { type: "text", value: text },
        })),
      };
  }
}

function contentOf({ text, calls }: Extract<Said, { readonly by: "assistant" }>): AssistantContent {
  return [
    ...(text === "" ? [] : [{ type: "text" as const, text }]),
    ...calls.map(({ id, name, input }) => ({
      type: "tool-call" as const,
      toolCallId: id,
      toolName: name,
      input,
    })),
  ];
}
