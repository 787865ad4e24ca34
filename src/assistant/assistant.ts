import { hostname } from "node:os";
import { AgentIdentity } from "../client/agent-identity.ts";
import { holdLine, type SendOnLine } from "../client/agent-line.ts";
import type { Client } from "../client/client.ts";
import { abortFailure, Failure } from "../failure.ts";
import { type AgentMessage, AgentType, ControlCommand, MessageType } from "../gen/proto/agent/v1/agent_pb.ts";
import { orAborted } from "../or-aborted.ts";
import { version } from "../version.ts";
import { Answer } from "./answer.ts";
import type { AssistantConfig } from "./assistant-config.ts";
import type { Provider } from "./provider.ts";
import { answerQuestion, type Question } from "./turn.ts";

export interface AssistantOptions {
  readonly client: Client;
  readonly provider: Provider;
  readonly config: AssistantConfig;
  /** Its abort drains: no further question is taken, those at work have `drainTimeoutMs` to end. */
  readonly signal: AbortSignal;
  /** Its abort ends a drain at once. */
  readonly hurry?: AbortSignal;
  readonly onNews: (news: AssistantNews) => void;
}

export type AssistantNews =
  | { readonly what: "ready"; readonly agentId: string }
  | { readonly what: "interrupted"; readonly why: string; readonly againInMs: number }
  | { readonly what: "answered"; readonly turn: TurnName; readonly bytes: number; readonly ms: number }
  | { readonly what: "failed"; readonly turn: TurnName; readonly error: unknown }
  | { readonly what: "given_up"; readonly turn: TurnName; readonly why: string }
  | { readonly what: "cut"; readonly turn: TurnName; readonly leftOut: number }
  | { readonly what: "draining"; readonly turns: number };

export interface TurnName {
  readonly sessionId: string;
  readonly messageId: string;
}

/** The name that the server looks for, and the label. */
const NAME = "assistant";
const LABELS = { role: "assistant" };

/** How long signing off may take. Milliseconds. */
const SIGN_OFF_MS = 5_000;

/**
 * Is an assistant until `signal` aborts: registers, holds the line, and answers the questions that come over it. Comes back
 * by itself after a lost connection and after a restart of the server. An answer that was under way then is given up: the
 * server asks again, or has told its user.
 *
 * Failures: UNAVAILABLE with the reason UNREACHABLE when there is no server to begin with; ABORTED when another process
 * took this one's place.
 */
export async function runAssistant(options: AssistantOptions): Promise<void> {
  await new Assistant(options).run();
}

interface AtWork {
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

class Assistant {
  readonly #client: Client;
  readonly #options: AssistantOptions;
  /** By correlation id. */
  readonly #atWork = new Map<string, AtWork>();
  readonly #identity: AgentIdentity;

  constructor(options: AssistantOptions) {
    this.#client = options.client;
    this.#options = options;
    const metadata = {
      version,
      description: `answers conversations: ${options.provider.about}`,
      labels: LABELS,
      hostname: hostname(),
      pid: String(process.pid),
    };
    const capabilities = { supportsStreaming: true, supportsCancellation: true };
    this.#identity = new AgentIdentity(options.client, {
      registration: { name: NAME, type: AgentType.WORKER, metadata, capabilities },
      lost: ({ message }, againInMs) => this.#tell({ what: "interrupted", why: message, againInMs }),
    });
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const over = new AbortController(); // the end of the line, after the drain
    const serving = this.#serve(over.signal);
    try {
      await orAborted(serving, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      if (signal.aborted) await this.#drain();
      this.#giveUp("the assistant stops");
      over.abort();
    }
    await serving.catch(() => undefined); // it ends by the abort
    await this.#identity.signOff("the assistant stops", { withinMs: SIGN_OFF_MS });
  }

  /** Registers and holds the line, anew whenever the server does not know the agent any more. */
  async #serve(over: AbortSignal): Promise<never> {
    for (;;) {
      const agentId = await this.#identity.id(over);
      let send: SendOnLine = async () => {};
      try {
        await holdLine(this.#client, {
          agentId,
          metadata: this.#identity.metadata,
          signal: over,
          opened: (sendOnLine) => {
            send = sendOnLine;
            this.#tell({ what: "ready", agentId });
          },
          lost: ({ message }, againInMs) => {
            this.#giveUp("the connection was lost");
            this.#tell({ what: "interrupted", why: message, againInMs });
          },
          heard: (message) => this.#hear(message, { agentId, send }),
        });
      } catch (error) {
        this.#giveUp("the line has ended");
        if (Failure.from(error)?.kind !== "not_found" || over.aborted) throw error;
        this.#identity.forget();
      }
    }
  }

  #hear(message: AgentMessage, line: { readonly agentId: string; readonly send: SendOnLine }): void {
    const { type, payload } = message;
    const { correlationId = "", sessionId = "", headers = {} } = message.metadata ?? {};
    if (payload.case === "controlMessage" && payload.value.command === ControlCommand.CANCEL) {
      const { correlation_id: cancelled = correlationId, reason = "" } = payload.value.parameters;
      this.#atWork.get(cancelled)?.stop.abort(new Failure("cancelled", reason || "it was cancelled"));
    }
    if (type !== MessageType.DATA || payload.case !== "dataMessage") return;
    // While it drains, whoever asks is asked again by the server when the line has ended.
    if (correlationId === "" || this.#options.signal.aborted || this.#atWork.has(correlationId)) return;
    const { maxAnswerBytes: maxBytes } = this.#options.config;
    const answer = new Answer({ ...line, sessionId, correlationId, maxBytes });
    const text = new TextDecoder().decode(payload.value.data);
    const { message_id: messageId = message.id, model = "" } = headers;
    const question = { sessionId, messageId, text, model };
    const stop = new AbortController();
    const done = this.#answer(question, { answer, stop }).finally(() => this.#atWork.delete(correlationId));
    this.#atWork.set(correlationId, { stop, done });
  }

  /** Never throws: whatever keeps a question from being answered is told to who has asked. */
  async #answer(
    question: Question,
    { answer, stop }: { readonly answer: Answer; readonly stop: AbortController },
  ): Promise<void> {
    const { client, provider, config } = this.#options;
    const { sessionId, messageId } = question;
    const turn = { sessionId, messageId };
    const { signal } = stop;
    const begun = performance.now();
    try {
      if (this.#atWork.size >= config.maxTurns) throw tooBusy(config.maxTurns);
      const onCut = (leftOut: number) => this.#tell({ what: "cut", turn, leftOut });
      await answerQuestion(question, { client, provider, config, answer, signal, onCut });
      this.#tell({ what: "answered", turn, bytes: answer.bytes, ms: performance.now() - begun });
    } catch (error) {
      if (signal.aborted) {
        // The server has given the turn up, or will hear no more of it.
        this.#tell({ what: "given_up", turn, why: abortFailure(signal).message });
        return;
      }
      this.#tell({ what: "failed", turn, error });
      await answer.fail(Failure.from(error)?.message ?? "Cannot answer: the assistant has met a defect");
    }
  }

  /** Has all turns end without an answer. */
  #giveUp(why: string): void {
    for (const { stop } of this.#atWork.values()) stop.abort(new Failure("cancelled", why));
  }

  async #drain(): Promise<void> {
    const turns = this.#atWork.size;
    if (turns === 0) return;
    this.#tell({ what: "draining", turns });
    const { config, hurry } = this.#options;
    const patience = AbortSignal.timeout(config.drainTimeoutMs);
    const all = Promise.all([...this.#atWork.values()].map(({ done }) => done));
    const signal = hurry === undefined ? patience : AbortSignal.any([patience, hurry]);
    await orAborted(all, signal).catch(() => undefined); // late ones are given up
  }

  #tell(news: AssistantNews): void {
    this.#options.onNews(news);
  }
}

function tooBusy(maxTurns: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot answer: the assistant is at ${maxTurns} answers already, which is as many as it may be`,
    { reason: "ASSISTANT_BUSY" },
  );
}
