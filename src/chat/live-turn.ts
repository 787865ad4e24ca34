import type { AgentId } from "../agents/agent.ts";
import type { Instant } from "../events/event.ts";
import type { SessionId } from "../sessions/session.ts";
import type { EndedTurn, Running, RunningTurn } from "./turn.ts";

/** A piece of an answer as it came: the same object for all who read it. */
export interface Piece {
  readonly text: string;
  /** Of UTF-8. */
  readonly bytes: number;
}

/**
 * A turn as those see it who wait for its answer. The pieces of an answer are nowhere else until it is whole; they are kept
 * once, and each reader goes through them at its own pace.
 */
export class LiveTurn {
  readonly sessionId: SessionId;
  readonly messageId: string;
  readonly askedAt: Instant;
  readonly #listeners = new Set<() => void>();
  readonly #pieces: Piece[] = [];
  #bytes = 0;
  #running: (Running & { readonly attempt: number }) | undefined;
  #over: EndedTurn | undefined;

  constructor(turn: {
    readonly sessionId: SessionId;
    readonly messageId: string;
    readonly askedAt: Instant;
  }) {
    this.sessionId = turn.sessionId;
    this.messageId = turn.messageId;
    this.askedAt = turn.askedAt;
  }

  /** A turn that ended before somebody asked for it. */
  static ended(turn: EndedTurn & { readonly sessionId: SessionId }, answer: string | undefined): LiveTurn {
    const live = new LiveTurn(turn);
    live.end(turn, answer);
    return live;
  }

  /** The answer so far. */
  get pieces(): readonly Piece[] {
    return this.#pieces;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The attempt that runs. */
  get running(): (Running & { readonly attempt: number }) | undefined {
    return this.#running;
  }

  get assistantId(): AgentId | undefined {
    // Rows have it from the agent that was chosen.
    return this.#running?.assistantId as AgentId | undefined;
  }

  /** How it has ended; `undefined` while it has not. */
  get over(): EndedTurn | undefined {
    return this.#over;
  }

  /** When an assistant got it, or when it was asked. */
  get startedAt(): Instant {
    return this.#running?.since ?? this.#over?.startedAt ?? this.askedAt;
  }

  start(turn: RunningTurn): void {
    this.#running = { ...turn.life, attempt: turn.attempt };
    this.#tell();
  }

  /** An assistant has it no more, and it is to be asked again. */
  takeBack(): void {
    this.#running = undefined;
  }

  add(text: string, bytes: number): void {
    this.#put(text, bytes);
    this.#tell();
  }

  /** @param last what of the answer has not been added yet */
  end(over: EndedTurn, last = ""): void {
    if (this.#over !== undefined) return;
    this.#put(last, Buffer.byteLength(last));
    this.#over = over;
    this.#tell();
    this.#listeners.clear();
  }

  /** Calls `listener` with every change, until it has ended. Returns the way to stop. */
  listen(listener: () => void): () => void {
    if (this.#over === undefined) this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #put(text: string, bytes: number): void {
    if (text === "") return;
    this.#pieces.push({ text, bytes });
    this.#bytes += bytes;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
