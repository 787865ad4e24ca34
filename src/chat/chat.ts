import type { AgentChange, Agents } from "../agents/agents.ts";
import type { Lines } from "../agents/lines.ts";
import type { Call } from "../call.ts";
import { Bell } from "../events/bell.ts";
import type { Instant, LogEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import type { Message } from "../messages/message.ts";
import { messageKey } from "../messages/message.ts";
import type { Messages, SentDraft } from "../messages/messages.ts";
import type { Session, SessionId } from "../sessions/session.ts";
import type { Decision, Store } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import { Answers } from "./answers.ts";
import { type AssistantBeside, Assistants } from "./assistants.ts";
import { LiveTurn } from "./live-turn.ts";
import type { Mail } from "./mail.ts";
import { type OpenEntry, OpenTurns } from "./open-turns.ts";
import { SessionListeners } from "./session-listeners.ts";
import { type Conversation, conversationTable, failed, isRunning, turnTable } from "./turn.ts";
import { Turns } from "./turns.ts";

interface ChatLimits {
  /** Questions of one session that wait behind the one that is with an assistant. */
  readonly maxWaiting: number;
  /** How often a question is handed to an assistant. */
  readonly maxAttempts: number;
  /** How long a question waits for an assistant that is registered and has no line. Milliseconds. */
  readonly assistantWaitMs: number;
  /** How long an assistant may be silent in the middle of a turn. Milliseconds. */
  readonly silenceTimeoutMs: number;
  /** How long an assistant may take for an answer. Milliseconds. */
  readonly turnTimeoutMs: number;
  /** Of an answer, bytes of UTF-8. */
  readonly maxAnswerBytes: number;
  /** Of all answers that are not stored yet. */
  readonly maxHeldBytes: number;
}

export interface ChatOptions {
  readonly store: Store;
  readonly messages: Messages;
  readonly agents: Agents;
  readonly lines: Lines;
  readonly clock: () => Instant;
  /** Milliseconds of a clock that is never set. */
  readonly monotonic: () => number;
  readonly limits: ChatLimits;
  /** Aborts when the server begins to stop: assistants that go then are not lost. */
  readonly stopping: AbortSignal;
  /** Counts as activity of a session; as `Sessions.touch`. */
  readonly touch: (id: SessionId) => Promise<void>;
  readonly beside: AssistantBeside;
  readonly odd: (why: string, mail: Mail) => void;
  readonly trouble: (what: string, details: Readonly<Record<string, unknown>>) => void;
}

/** A message that was sent, and the turn that it has begun. */
export interface Said {
  readonly message: Message;
  /** Whether it is new, or was sent before. */
  readonly as: "new" | "repeated";
  /** Of a question. Absent when there is none to be had any more. */
  readonly turn: LiveTurn | undefined;
}

/** The parts that an answer may come in. */
const maxParts = 200_000;

/** How many conversations one look at the store takes up. */
const takenUpAtOnce = 256;

/** Messages of sessions, and what becomes of those that are questions. */
export class Chat {
  readonly #options: ChatOptions;
  readonly #assistants: Assistants;
  readonly #open: OpenTurns;
  readonly #turns: Turns;
  readonly #answers: Answers;
  readonly #closings = new SessionListeners<undefined>();

  constructor(options: ChatOptions) {
    const { limits, trouble, odd, messages, monotonic, touch, beside } = options;
    this.#options = options;
    this.#assistants = new Assistants(beside);
    this.#open = new OpenTurns(this.#assistants, { maxBytes: limits.maxAnswerBytes, maxParts });
    const parts = { open: this.#open, assistants: this.#assistants };
    this.#turns = new Turns(options, parts);
    const { maxHeldBytes } = limits;
    const turns = this.#turns;
    this.#answers = new Answers({ ...parts, turns, messages, monotonic, maxHeldBytes, touch, odd, trouble });
    options.agents.onChange((change) => this.#follow(change));
    options.lines.onMessage((mail) => this.#answers.take(mail));
    options.lines.onRoom((id) => this.#assistants.hasRoom(id));
  }

  /** How many turns have not ended. */
  get openTurns(): number {
    return this.#open.size;
  }

  /**
   * Stores a message; it is durable when this resolves. A question (a USER message) is handed to an assistant. A draft with
   * the id, or a request with the key, of an earlier one with the same content gives that one again.
   *
   * Failures: as `Messages.send`; RESOURCE_EXHAUSTED also when too many questions of the session wait.
   */
  async send(id: SessionId, sent: SentDraft, call: Call): Promise<Said> {
    const { messages } = this.#options;
    if (sent.draft.role !== "user") {
      const { message, as } = await messages.sendOnce(id, sent, call);
      return { message, as, turn: undefined };
    }
    const asked = await this.#turns.ask(messages.sending(id, sent, call));
    if (asked.sent.kind === "stored") return { message: asked.sent.message, as: "new", turn: asked.turn };
    const message = asked.sent.kind === "again" ? await messages.get(id, asked.sent.id) : asked.sent.message;
    return { message, as: "repeated", turn: await this.turn(id, message.id) };
  }

  /** The turn of a question, while or after it was answered; `undefined` when no assistant was ever asked. */
  async turn(sessionId: SessionId, messageId: string): Promise<LiveTurn | undefined> {
    const open = this.#open.get(sessionId, messageId);
    if (open !== undefined) return open.live;
    const ended = await this.#options.store.get(turnTable, messageKey(sessionId, messageId));
    if (ended === undefined) return undefined;
    const { end } = ended;
    const answer =
      end.kind === "answered" ? (await this.#options.messages.get(sessionId, end.answerId)).content : "";
    return LiveTurn.ended(ended, answer);
  }

  /** Calls `listener` with each turn of a session that begins, or ends without having begun. Returns the way to stop. */
  follow(sessionId: SessionId, listener: (turn: LiveTurn) => void): () => void {
    return this.#open.followers.listen(sessionId, listener);
  }

  /** Somebody is there to hear what becomes of a session's questions. Returns the way to leave. */
  join(sessionId: SessionId): () => void {
    return this.#open.joined.join(sessionId);
  }

  /** The turn of a session that an assistant has now. */
  running(sessionId: SessionId): LiveTurn | undefined {
    return this.#open.running(sessionId);
  }

  /** Calls `listener` when a session is closed, or begins to be. Returns the way to stop. */
  onClosing(sessionId: SessionId, listener: () => void): () => void {
    return this.#closings.listen(sessionId, listener);
  }

  /** Gives up a question, whether or not an assistant has it, and tells that one. Says whether there was something to end. */
  async cancel(sessionId: SessionId, messageId: string, words: string): Promise<boolean> {
    return await this.#turns.end(sessionId, { messageId }, { kind: "cancelled", words });
  }

  /** Takes up the turns that a server before this one has left. */
  async takeUp(): Promise<void> {
    this.#assistants.takeUp(this.#options.agents);
    let after: PagePlace | undefined;
    do {
      const page = await this.#options.store.list(conversationTable, {
        where: { openTurns: { gt: 0 } },
        limit: takenUpAtOnce,
        after,
      });
      await Promise.all(page.rows.map(({ sessionId }) => this.#turns.takeUp(sessionId)));
      after = page.next;
    } while (after !== undefined);
  }

  /** Ends what takes too long, until the signal aborts. */
  async watch(signal: AbortSignal): Promise<void> {
    const { assistantWaitMs, silenceTimeoutMs, turnTimeoutMs } = this.#options.limits;
    const shortest = Math.min(assistantWaitMs, silenceTimeoutMs, turnTimeoutMs);
    const everyMs = Math.min(500, Math.max(10, Math.floor(shortest / 10)));
    const bell = new Bell();
    signal.addEventListener("abort", bell.ring, { once: true });
    while (!signal.aborted) {
      await bell.wait(everyMs);
      for (const entry of [...this.#open.all()]) await this.#lookAt(entry);
    }
  }

  /** Ends the turns of a session, in the commit that begins its end. The result is called when that is durable. */
  endWithSession(
    conversation: Conversation | undefined,
    session: Session,
    at: Instant,
  ): Decision<() => void> {
    return this.#turns.endWithSession(conversation, session, at);
  }

  /** Tells who listens that sessions close, until the signal aborts. */
  async followClosings(signal: AbortSignal): Promise<void> {
    const over = new Bell();
    signal.addEventListener("abort", over.ring, { once: true });
    const stop = this.#options.store.events.onAppend((events) => {
      for (const event of events) this.#noteClosing(event);
    });
    while (!signal.aborted) await over.wait();
    stop();
  }

  #noteClosing({ type, data, sessionId }: LogEvent): void {
    if (type !== "session_closed" && (type !== "session_updated" || data?.state !== "closing")) return;
    const id = sessionId as SessionId; // events of these types have their session's
    this.#closings.tell(id, undefined);
  }

  async #lookAt(entry: OpenEntry): Promise<void> {
    try {
      await this.#endInTime(entry);
    } catch (error) {
      const { messageId } = entry.live;
      if (!(error instanceof Failure)) throw error;
      this.#options.trouble("a turn can't be ended yet", { message: messageId, error });
    }
  }

  async #endInTime(entry: OpenEntry): Promise<void> {
    const { turn, live, heardMs, whole } = entry;
    const { clock, monotonic, limits } = this.#options;
    const silentMs = monotonic() - heardMs;
    if (!isRunning(turn)) {
      if (turn.life.state !== "asked" || turn.life.awaits !== "assistant") return;
      if (silentMs < limits.assistantWaitMs) return;
      const words = `no assistant has come within ${limits.assistantWaitMs / 1_000} s: those that are expected have no open stream`;
      await this.#turns.giveUpWaiting(entry, words);
      return;
    }
    const which = { messageId: turn.messageId, attempt: turn.attempt };
    const name = this.#assistants.nameOf(live.assistantId);
    if (clock() >= turn.life.deadline) {
      const words = `assistant "${name}" has not finished its answer within ${limits.turnTimeoutMs / 1_000} s`;
      await this.#turns.end(live.sessionId, which, failed("TURN_TIMED_OUT", words));
    } else if (whole !== undefined) {
      if (whole.state === "refused") await this.#answers.store(entry);
    } else if (silentMs >= limits.silenceTimeoutMs) {
      const words = `assistant "${name}" was silent for ${limits.silenceTimeoutMs / 1_000} s`;
      await this.#turns.end(live.sessionId, which, failed("ASSISTANT_SILENT", words));
    }
  }

  #follow(change: AgentChange): void {
    if (!this.#assistants.follow(change) || this.#options.stopping.aborted) return;
    const { kind, agent } = change;
    if (kind === "line_opened") {
      for (const sessionId of this.#open.waiting) this.#quietly(this.#turns.goOn(sessionId));
    } else if (kind === "line_closed" || kind === "lost" || kind === "unregistered") {
      const words = `assistant "${agent.name}" has gone in the middle of the turn`;
      for (const entry of this.#open.of(agent.id)) {
        if (entry.whole === undefined) this.#quietly(this.#turns.lose(entry, words));
      }
    }
  }

  /** What fails here is tried again when turns are looked at. */
  #quietly(work: Promise<void>): void {
    work.catch((error: unknown) => this.#options.trouble("a turn can't be moved on", { error }));
  }
}
