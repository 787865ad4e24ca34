import { type AgentMessage, messageBytes, orchestrator } from "./agent-message.ts";

/** What goes out to an agent. */
export type LineOutput =
  | { readonly kind: "message"; readonly message: AgentMessage }
  /** The answer to a heartbeat. */
  | { readonly kind: "heartbeat" };

/** What waits, of one agent or of all together. */
interface Held {
  messages: number;
  bytes: number;
}

export interface OutboxLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** Of all agents together. */
  readonly maxTotalBytes: number;
}

interface Waiting {
  readonly output: LineOutput;
  readonly bytes: number;
  /** `passed`: a message of somebody else's; `answer`: to what came on the line itself. */
  readonly as: "passed" | "answer";
}

/**
 * What waits to go out to one agent, in order. Messages of others are bounded, and refused at the bound; answers to what
 * the agent itself sends are not: whoever reads from it stops while many of them wait.
 */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #total: Held;
  readonly #held: Held = { messages: 0, bytes: 0 };
  #waiting: Waiting[] = [];
  /** How many of `#waiting` have gone: taking from the front of a long array would move all that is behind. */
  #gone = 0;
  #answers = 0;

  /** @param total counts what waits in all outboxes together */
  constructor(limits: OutboxLimits, total: Held) {
    this.#limits = limits;
    this.#total = total;
  }

  /** How many answers wait. */
  get answers(): number {
    return this.#answers;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === this.#gone;
  }

  /** Why `message` can't be taken now, as the end of a sentence; undefined when it can. */
  problemOf(message: AgentMessage): string | undefined {
    const bytes = messageBytes(message);
    const { maxMessages, maxBytes, maxTotalBytes } = this.#limits;
    if (this.#held.messages >= maxMessages)
      return `${this.#held.messages} messages wait for it, which is the most`;
    if (this.#held.bytes + bytes > maxBytes)
      return `${this.#held.bytes} bytes of messages wait for it, and ${bytes} more would be over ${maxBytes}, which is the most`;
    if (this.#total.bytes + bytes > maxTotalBytes)
      return `${this.#total.bytes} bytes of messages wait for all agents together, and ${bytes} more would be over ${maxTotalBytes}, which is the most`;
    return undefined;
  }

  /** Puts in a message of somebody else's, whether or not there is room: see `problemOf`. */
  pass(message: AgentMessage): void {
    this.#put({ output: { kind: "message", message }, bytes: messageBytes(message), as: "passed" });
  }

  /** Puts in an answer to what the agent itself has sent. */
  answer(output: LineOutput): void {
    this.#put({ output, bytes: 0, as: "answer" });
  }

  take(): LineOutput | undefined {
    const waiting = this.#waiting[this.#gone];
    if (waiting === undefined) return undefined;
    this.#gone += 1;
    if (this.#gone === this.#waiting.length || this.#gone >= 1_024) {
      this.#waiting = this.#waiting.slice(this.#gone);
      this.#gone = 0;
    }
    this.#count(waiting, -1);
    return waiting.output;
  }

  /**
   * Keeps, for the agent's next line, what agents and callers have sent to it. What the server itself had to say on this
   * one goes: it says it again where it still holds.
   */
  endOfLine(): void {
    const waiting = this.#waiting.slice(this.#gone);
    for (const one of waiting) this.#count(one, -1);
    this.#waiting = waiting.filter(
      ({ as, output }) =>
        as === "passed" && output.kind === "message" && output.message.sourceId !== orchestrator,
    );
    this.#gone = 0;
    for (const one of this.#waiting) this.#count(one, 1);
  }

  /** Takes out all messages of others. */
  drain(): readonly AgentMessage[] {
    this.endOfLine();
    const messages: AgentMessage[] = [];
    for (let output = this.take(); output !== undefined; output = this.take()) {
      if (output.kind === "message") messages.push(output.message);
    }
    return messages;
  }

  #put(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#count(waiting, 1);
  }

  #count({ as, bytes }: Waiting, by: 1 | -1): void {
    if (as === "answer") {
      this.#answers += by;
      return;
    }
    for (const held of [this.#held, this.#total]) {
      held.messages += by;
      held.bytes += by * bytes;
    }
  }
}
