import type { Client } from "../client/client.ts";
import { abortFailure, Failure } from "../failure.ts";
import { writeDuration } from "../quantity.ts";
import type { Answer } from "./answer.ts";
import type { AssistantConfig } from "./assistant-config.ts";
import { fittedIn } from "./context-room.ts";
import { type Conversation, readConversation } from "./conversation.ts";
import type { Provider, Said, ToolCall, ToolDeclaration, ToolResult } from "./provider.ts";
import { Sandbox } from "./sandbox.ts";
import { estimatedTokens } from "./token-estimate.ts";
import { callMessage, resultMessage } from "./tool-messages.ts";
import { runTool, toolDeclarations } from "./tools.ts";

export interface Question {
  readonly sessionId: string;
  readonly messageId: string;
  readonly text: string;
  /** That shall answer; empty: whichever there is. */
  readonly model: string;
}

export interface TurnParts {
  readonly client: Client;
  readonly provider: Provider;
  readonly config: AssistantConfig;
  readonly answer: Answer;
  /** Its abort gives the turn up. */
  readonly signal: AbortSignal;
  /** Told how many messages of the conversation had no room. */
  readonly onCut: (leftOut: number) => void;
}

/**
 * Answers one question: has the provider make text, which is sent as it comes, and does what it asks of the tools, step by
 * step until it asks for nothing more. Each call of a tool and its result is a TOOL message of the session.
 *
 * Failures: the signal's; whatever keeps the question from being answered. What a tool could not do is told to the
 * provider instead.
 */
export async function answerQuestion(question: Question, parts: TurnParts): Promise<void> {
  const { config, answer, provider } = parts;
  if (question.model !== "" && question.model !== provider.model) throw otherModel(question.model, provider);
  using time = timeOut(config.turnTimeoutMs);
  const signal = AbortSignal.any([parts.signal, time.signal]);
  const turn = new Turn(question, { ...parts, signal });
  using _life = every(SIGN_OF_LIFE_MS, () => void answer.goesOn());
  await turn.begin();
  for (let step = 1; ; step += 1) {
    // The last step has to come to an end without a tool.
    const calls = await turn.step(step < config.maxSteps ? toolDeclarations() : []);
    if (calls.length === 0) break;
    if (step >= config.maxSteps) throw tooManySteps(config.maxSteps);
    for (const call of calls) await turn.call(call);
  }
  await answer.end(turn.about());
}

class Turn {
  readonly #question: Question;
  readonly #parts: TurnParts;
  readonly #sandbox: Sandbox;
  #said: Said[] = [];
  /** Where the question stands in it. */
  #questionAt = 0;
  #instructions: readonly string[] = [];
  #leftOut = 0;
  #tokens = 0;

  constructor(question: Question, parts: TurnParts) {
    const { client, config } = parts;
    this.#question = question;
    this.#parts = parts;
    this.#sandbox = new Sandbox(client, {
      sessionId: question.sessionId,
      image: config.image,
      timeoutMs: config.toolTimeoutMs,
      maxOutputBytes: config.maxToolOutputBytes,
    });
  }

  /** Finds out what was said before. */
  async begin(): Promise<void> {
    const { provider, config } = this.#parts;
    const before = provider.readsConversation ? await this.#readBefore() : NOTHING_BEFORE;
    this.#questionAt = before.said.length;
    this.#said = [...before.said, { by: "user", text: this.#question.text }];
    this.#instructions = [config.instructions || INSTRUCTIONS, ...before.instructions];
    this.#leaveOut(before.leftOut);
  }

  /** Has the provider go on; gives what it wants to have called. */
  async step(tools: readonly ToolDeclaration[]): Promise<readonly ToolCall[]> {
    const { provider, answer, signal } = this.#parts;
    this.#makeRoom();
    const asked = { instructions: this.#instructionWords(), said: this.#said, tools, signal };
    const calls: ToolCall[] = [];
    let text = "";
    for await (const piece of provider.step(asked)) {
      if (piece.kind === "call") {
        calls.push(piece.call);
        continue;
      }
      if (piece.kind === "usage") {
        this.#tokens += piece.tokens;
        continue;
      }
      if (text === "") await answer.paragraph(); // what a step before has said
      text += piece.text;
      await answer.say(piece.text);
    }
    if (signal.aborted) throw abortFailure(signal);
    this.#said.push({ by: "assistant", text, calls });
    return calls;
  }

  /** Does one call, stored before and after. */
  async call(call: ToolCall): Promise<void> {
    const { client, answer, signal } = this.#parts;
    const { sessionId, messageId } = this.#question;
    const place = { messageId, answerBytes: answer.bytes };
    await client.orchestrator.sendMessage({ sessionId, message: callMessage(call, place) }, { signal });
    const outcome = await runTool(call, { sandbox: this.#sandbox, signal });
    const message = resultMessage(call, outcome, place);
    await client.orchestrator.sendMessage({ sessionId, message }, { signal });
    this.#addResult({ id: call.id, name: call.name, text: outcome.text });
  }

  /** What the end of the answer says of it. */
  about(): Readonly<Record<string, string>> {
    const { model } = this.#parts.provider;
    return { model, ...(this.#tokens === 0 ? {} : { tokens_used: String(this.#tokens) }) };
  }

  /** The results of one step stand together. */
  #addResult(result: ToolResult): void {
    const last = this.#said.at(-1);
    if (last?.by === "tools")
      this.#said[this.#said.length - 1] = { by: "tools", results: [...last.results, result] };
    else this.#said.push({ by: "tools", results: [result] });
  }

  async #readBefore(): Promise<Conversation> {
    const { client, config, signal } = this.#parts;
    const { sessionId, messageId, text } = this.#question;
    const maxTokens = config.maxContextTokens - this.#fixedTokens() - estimatedTokens(text);
    if (maxTokens < 0) throw this.#tooLong();
    return await readConversation(client, { sessionId, messageId, maxTokens, signal });
  }

  /** What the steps so far have brought may have grown over what a model is given. */
  #makeRoom(): void {
    const { provider, config } = this.#parts;
    if (!provider.readsConversation) return;
    const maxTokens = config.maxContextTokens - this.#fixedTokens();
    const fitted = fittedIn(maxTokens, { said: this.#said, question: this.#questionAt });
    if (fitted === undefined) throw this.#tooLong();
    this.#said = [...fitted.said];
    this.#questionAt -= fitted.leftOut;
    this.#leaveOut(fitted.leftOut);
  }

  #leaveOut(messages: number): void {
    if (messages === 0) return;
    this.#leftOut += messages;
    this.#parts.onCut(this.#leftOut);
  }

  #instructionWords(): string {
    const cut =
      this.#leftOut === 0
        ? []
        : [`The ${this.#leftOut} oldest messages of this conversation had no room and are not shown to you.`];
    return [...this.#instructions, ...cut].join("\n\n");
  }

  /** What stands beside all that was said. */
  #fixedTokens(): number {
    const { instructions } = this.#parts.config;
    return (
      estimatedTokens(instructions || INSTRUCTIONS) + estimatedTokens(JSON.stringify(toolDeclarations()))
    );
  }

  #tooLong(): Failure {
    const { maxContextTokens } = this.#parts.config;
    return new Failure(
      "invalid_argument",
      `Cannot answer: the question, and what has to stand beside it, take more than the ${maxContextTokens} tokens that the model is given`,
      { reason: "QUESTION_TOO_LONG" },
    );
  }
}

const NOTHING_BEFORE: Conversation = { said: [], instructions: [], leftOut: 0 };

/** What frames a conversation unless the configuration says otherwise. */
const INSTRUCTIONS = `You are a helpful assistant. You have a sandbox: a Linux container of this conversation, without a network unless its owner gave it one, whose files stay from turn to turn. Use the tools to compute, to check and to work on files instead of guessing. Say what you have found, in Markdown, and be brief.`;

/** A model may think, and a tool may run, for longer than the server waits for a word. */
const SIGN_OF_LIFE_MS = 20_000;

function every(ms: number, act: () => void): Disposable {
  const timer = setInterval(act, ms);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function timeOut(ms: number): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const message = `Cannot answer: the ${writeDuration(ms)} that an answer may take are over`;
  const failure = new Failure("deadline_exceeded", message, { reason: "TURN_TIMED_OUT" });
  const timer = setTimeout(() => controller.abort(failure), ms);
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}

function otherModel(asked: string, { model }: Provider): Failure {
  return new Failure(
    "invalid_argument",
    `Cannot answer by the model "${asked}": this assistant answers by "${model}" alone`,
    { reason: "OTHER_MODEL" },
  );
}

function tooManySteps(steps: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot answer: after ${steps} steps the model still asks for tools`,
    { reason: "TOO_MANY_STEPS" },
  );
}
