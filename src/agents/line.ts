import { Bell } from "../events/bell.ts";
import type { Agent } from "./agent.ts";
import type { LineOutput, Outbox } from "./outbox.ts";

/** How many answers may wait for an agent before no more is read from it. */
const maxAnswers = 64;

/** One open StreamAgent, from the server's side. */
export class Line {
  readonly agent: Agent;
  readonly outbox: Outbox;
  readonly #bell = new Bell();
  readonly #room = new Bell();
  readonly #over = new AbortController();
  #end: { readonly how: "finished" } | { readonly how: "failed"; readonly error: unknown } | undefined;

  constructor(agent: Agent, outbox: Outbox) {
    this.agent = agent;
    this.outbox = outbox;
  }

  /** Aborts when nothing more goes over the line. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Tells that something was put into the outbox. */
  readonly wake = this.#bell.ring;

  answer(output: LineOutput): void {
    this.outbox.answer(output);
    this.#bell.ring();
  }

  /** Resolves when few enough answers wait, or the line is over. */
  async roomForAnswers(): Promise<void> {
    while (this.outbox.answers >= maxAnswers && !this.#over.signal.aborted) await this.#room.wait();
  }

  /** What goes out next; undefined when the line has ended well. Throws what the line has failed with. */
  async next(): Promise<LineOutput | undefined> {
    for (;;) {
      if (this.#end?.how === "failed") throw this.#end.error;
      const output = this.outbox.take();
      if (output !== undefined) {
        this.#room.ring();
        return output;
      }
      if (this.#end !== undefined) return undefined;
      await this.#bell.wait();
    }
  }

  /** Nothing more comes in: the line ends when what waits has gone out. */
  finish(): void {
    this.#end ??= { how: "finished" };
    this.#bell.ring();
  }

  /** Ends the line with an error, at once. */
  fail(error: unknown): void {
    if (this.#end?.how === "failed") return;
    this.#end = { how: "failed", error };
    this.close();
    this.#bell.ring();
  }

  /** Nothing reads from the line any more. */
  close(): void {
    this.#over.abort();
    this.#room.ring();
  }
}
