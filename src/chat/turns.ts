import type { AgentId } from "../agents/agent.ts";
import type { Lines } from "../agents/lines.ts";
import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { type Message, messageKey, messageTable } from "../messages/message.ts";
import { messageLoads, type Sending, type Sent, sendMessage } from "../messages/message-rules.ts";
import { type Session, type SessionId, sessionTable } from "../sessions/session.ts";
import { changed, type Decision, type Store, unchanged } from "../store/store.ts";
import { cancelMessage, questionMessage } from "./assistant-mail.ts";
import type { Assistants } from "./assistants.ts";
import { LiveTurn } from "./live-turn.ts";
import type { OpenEntry, OpenTurns } from "./open-turns.ts";
import {
  ask,
  askAgain,
  type Conversation,
  conversationTable,
  type EndedTurn,
  endAllTurns,
  endTurn,
  eventsOf,
  failed,
  goOn,
  isRunning,
  newConversation,
  type RunningTurn,
  rowsOf,
  type Step,
  type Stepping,
  type TurnEnd,
} from "./turn.ts";

interface TurnLimits {
  /** Questions of one session that wait behind the one that is with an assistant. */
  readonly maxWaiting: number;
  /** How often a question is handed to an assistant. */
  readonly maxAttempts: number;
  /** How long an assistant may take for an answer, in milliseconds. */
  readonly turnTimeoutMs: number;
}

export interface TurnsOptions {
  readonly store: Store;
  readonly clock: () => Instant;
  /** Milliseconds of a clock that is never set. */
  readonly monotonic: () => number;
  readonly lines: Pick<Lines, "deliver">;
  readonly limits: TurnLimits;
  /** Hears what went wrong where nobody waits for it. */
  readonly trouble: (what: string, details: Readonly<Record<string, unknown>>) => void;
}

/** A question that was sent, and its turn. */
export interface Asked {
  readonly sent: Sent;
  /** Absent when the message was stored before, or nobody converses in the session. */
  readonly turn: LiveTurn | undefined;
}

/** What a step is decided on. */
export interface Loaded {
  readonly session: Session;
  readonly conversation: Conversation;
}

/** Brings turns on: each step is one commit, and what follows from it is done when that is durable. */
export class Turns {
  readonly #options: TurnsOptions;
  readonly #open: OpenTurns;
  readonly #assistants: Assistants;

  constructor(options: TurnsOptions, parts: { readonly open: OpenTurns; readonly assistants: Assistants }) {
    this.#options = options;
    this.#open = parts.open;
    this.#assistants = parts.assistants;
  }

  /**
   * Stores a question and hands it to an assistant, in one commit as far as it is known who that is.
   *
   * Failures: as `sendMessage`; RESOURCE_EXHAUSTED when too many questions of the session wait.
   */
  async ask(sending: Sending): Promise<Asked> {
    const { sessionId } = sending;
    const { maxWaiting } = this.#options.limits;
    return await this.#options.store
      .change(
        { ...messageLoads(sending), conversation: { table: conversationTable, key: sessionId } },
        (loaded): Decision<{ readonly sent: Sent; readonly step?: Step }> => {
          const { result: sent, rows, events } = sendMessage(loaded, sending);
          if (sent.kind !== "stored") return { result: { sent }, rows, events };
          const { session, message } = sent;
          const conversation = loaded.conversation ?? newConversation(sessionId);
          // Who only keeps messages here is not told with each of them that nobody answers.
          if (loaded.conversation === undefined && !this.#isConversed(session, conversation))
            return { result: { sent }, rows, events };
          if (conversation.open.length > maxWaiting) throw tooManyWaiting(sessionId, maxWaiting);
          const { actor, correlationId } = sending;
          const question = { messageId: message.id, actor, correlationId };
          const step = ask(conversation, question, this.#stepping({ session, conversation }, sending.at));
          return changed(
            { sent, step },
            [...rows, ...rowsOf(step, loaded.conversation)],
            [...events, ...eventsOf(step, session)],
          );
        },
      )
      .then(({ sent, step = undefined }) => {
        if (step === undefined || sent.kind !== "stored") return { sent, turn: undefined };
        this.#act(step, sent.message);
        // At once: what was committed after this may end it.
        return { sent, turn: this.#turnOf(sent.message, step) };
      });
  }

  /** Goes on with the questions of a session that have no assistant. */
  async goOn(sessionId: SessionId): Promise<void> {
    await this.#step(sessionId, (loaded) => goOn(loaded.conversation, this.#stepping(loaded)));
  }

  /** Ends a turn; says whether it had not ended before. */
  async end(
    sessionId: SessionId,
    which: { readonly messageId: string; readonly attempt?: number },
    end: TurnEnd,
  ): Promise<boolean> {
    const step = await this.#step(sessionId, (loaded) =>
      endTurn(loaded.conversation, which, end, this.#stepping(loaded)),
    );
    return step !== undefined;
  }

  /** Ends all turns of a session, in the commit that begins its end. */
  endWithSession(
    conversation: Conversation | undefined,
    session: Session,
    at: Instant,
  ): Decision<() => void> {
    if (conversation === undefined || conversation.open.length === 0) return unchanged(() => {});
    const step = endAllTurns(conversation, failed("SESSION_CLOSED", "the session was closed"), at);
    return changed(() => this.#act(step), rowsOf(step, conversation), eventsOf(step, session));
  }

  /** Stores an answer, and ends its turn with it. What can't be stored ends it as well. */
  async answer(entry: OpenEntry, sending: Sending): Promise<void> {
    const { turn } = entry;
    const which = { messageId: turn.messageId, attempt: turn.attempt };
    await this.#options.store
      .change(
        { ...messageLoads(sending), conversation: { table: conversationTable, key: sending.sessionId } },
        (loaded): Decision<Step | undefined> => {
          const { session, conversation } = loaded;
          if (session === undefined || conversation === undefined) return unchanged(undefined);
          const stepping = this.#stepping({ session, conversation }, sending.at);
          const stored = storedOrRefused(() => sendMessage(loaded, sending));
          const end: TurnEnd =
            "refusal" in stored ? stored.refusal : { kind: "answered", answerId: sending.draft.id };
          const step = endTurn(conversation, which, end, stepping);
          if (step === undefined) return unchanged(undefined);
          const { rows, events } = "refusal" in stored ? { rows: [], events: [] } : stored;
          return changed(
            step,
            [...rows, ...rowsOf(step, conversation)],
            [...events, ...eventsOf(step, session)],
          );
        },
      )
      .then((step) => step && this.#act(step));
  }

  /**
   * Its assistant is gone: if nothing of the answer has come, it is given to another one, or waits for one that is expected,
   * which may be the same.
   */
  async lose(entry: OpenEntry, words: string): Promise<void> {
    const { turn, live } = entry;
    const which = { messageId: turn.messageId, attempt: turn.attempt };
    const lost = failed("ASSISTANT_LOST", words);
    const { maxAttempts } = this.#options.limits;
    await this.#step(live.sessionId, (loaded) => {
      const stepping = this.#stepping(loaded);
      if (entry.incoming.hasBegun || stepping.choose().kind === "none")
        return endTurn(loaded.conversation, which, lost, stepping);
      return askAgain(loaded.conversation, which, { maxAttempts, failed: lost }, stepping);
    });
  }

  /** Takes up the turns of a session that a server before this one has left. */
  async takeUp(sessionId: SessionId): Promise<void> {
    const { maxAttempts } = this.#options.limits;
    await this.#step(sessionId, (loaded) => {
      const { conversation, session } = loaded;
      const stepping = this.#stepping(loaded);
      const [first] = conversation.open;
      if (first === undefined) return undefined;
      if (session.life.state !== "active")
        return endAllTurns(conversation, failed("SESSION_CLOSED", "the session was closed"), stepping.at);
      if (!isRunning(first)) return goOn(conversation, stepping);
      const words = `the server was stopped ${first.attempt} times while an assistant had the question`;
      const again = { maxAttempts, failed: failed("SERVER_STOPPED", words) };
      return askAgain(conversation, first, again, stepping);
    });
  }

  /** Where the first question waits for an assistant and has waited long enough. */
  async giveUpWaiting(entry: OpenEntry, words: string): Promise<void> {
    const { turn, live } = entry;
    await this.#step(live.sessionId, (loaded) => {
      const stepping = this.#stepping(loaded);
      const [first] = loaded.conversation.open;
      if (first?.messageId !== turn.messageId || isRunning(first)) return undefined;
      if (stepping.choose().kind === "assistant") return goOn(loaded.conversation, stepping);
      // Those behind it have waited for it, not for an assistant: their wait begins now.
      const { messageId } = first;
      return endTurn(loaded.conversation, { messageId }, failed("NO_ASSISTANT", words), stepping);
    });
  }

  async #step(sessionId: SessionId, decide: (loaded: Loaded) => Step | undefined): Promise<Step | undefined> {
    const step = await this.#options.store
      .change(
        {
          session: { table: sessionTable, key: sessionId },
          conversation: { table: conversationTable, key: sessionId },
        },
        ({ session, conversation }): Decision<Step | undefined> => {
          if (session === undefined || conversation === undefined) return unchanged(undefined);
          const decided = decide({ session, conversation });
          if (decided === undefined) return unchanged(undefined);
          return changed(decided, rowsOf(decided, conversation), eventsOf(decided, session));
        },
      )
      .then((decided) => {
        if (decided !== undefined) this.#act(decided);
        return decided;
      });
    return step;
  }

  /** Does what follows from a step that is committed. */
  #act(step: Step, question?: Message): void {
    const { clock, monotonic } = this.#options;
    const { sessionId } = step.conversation;
    const { started, taken } = this.#open.apply(step, monotonic());
    for (const { assistantId, ticket, turn } of taken) {
      const { end, messageId } = turn;
      if (end.kind === "answered" || (end.kind === "failed" && end.reason === "ASSISTANT_ERROR")) continue;
      const cancel = { assistantId, ticket, sessionId, messageId, reason: end.words, at: clock() };
      this.#tryDeliver(assistantId, cancelMessage(cancel));
    }
    if (started === undefined) return;
    if (question?.id === started.live.messageId) this.#deliver(started, question);
    else void this.#deliverStored(started); // it never rejects
  }

  async #deliverStored(entry: OpenEntry): Promise<void> {
    const { live, turn } = entry;
    try {
      const question = await this.#options.store.get(
        messageTable,
        messageKey(live.sessionId, turn.messageId),
      );
      if (question !== undefined && entry.turn === turn) this.#deliver(entry, question);
    } catch (error) {
      this.#options.trouble("a question can't be read", { message: turn.messageId, error });
    }
  }

  #deliver(entry: OpenEntry, question: Message): void {
    const { turn } = entry;
    if (!isRunning(turn)) return;
    const refused = this.#tryDeliver(turn.life.assistantId, questionMessage(turn, question));
    if (refused !== undefined) void this.#undelivered(entry, turn, refused); // it never rejects
  }

  /** The Failure that keeps a message from an agent, if one does. */
  #tryDeliver(id: string, message: Parameters<Lines["deliver"]>[1]): Failure | undefined {
    try {
      this.#options.lines.deliver(id as AgentId, message); // chosen among agents
      return undefined;
    } catch (error) {
      if (error instanceof Failure) return error;
      throw error;
    }
  }

  async #undelivered(entry: OpenEntry, turn: RunningTurn, why: Failure): Promise<void> {
    const name = this.#assistants.nameOf(turn.life.assistantId as AgentId); // chosen among agents
    try {
      if (why.kind === "not_found") {
        await this.lose(entry, `assistant "${name}" has gone before it could be asked`);
        return;
      }
      const busy = failed("ASSISTANT_BUSY", `assistant "${name}" can't be asked: ${why.message}`);
      if (why.kind === "resource_exhausted") await this.#giveToAnother(entry, turn, busy);
      else await this.end(entry.live.sessionId, turn, busy);
    } catch (error) {
      this.#options.trouble("a turn can't be ended", { message: turn.messageId, error });
    }
  }

  /** The queue of its assistant is full: it is given to another one, if there is one that has room as far as is known. */
  async #giveToAnother(
    entry: OpenEntry,
    turn: RunningTurn,
    busy: Extract<TurnEnd, { readonly kind: "failed" }>,
  ): Promise<void> {
    this.#assistants.full(turn.life.assistantId as AgentId); // chosen among agents
    const { maxAttempts } = this.#options.limits;
    await this.#step(entry.live.sessionId, (loaded) => {
      const stepping = this.#stepping(loaded);
      const choice = stepping.choose();
      const isOther = choice.kind === "assistant" && !this.#assistants.isFull(choice.assistantId as AgentId); // likewise
      if (!isOther) return endTurn(loaded.conversation, turn, busy, stepping);
      return askAgain(loaded.conversation, turn, { maxAttempts, failed: busy }, stepping);
    });
  }

  #turnOf(message: Message, step: Step): LiveTurn | undefined {
    const open = this.#open.get(message.sessionId, message.id);
    if (open !== undefined) return open.live;
    const over = step.ended.find((ended: EndedTurn) => ended.messageId === message.id);
    if (over === undefined) return undefined;
    const live = LiveTurn.ended(over, undefined);
    this.#open.followers.tell(live.sessionId, live);
    return live;
  }

  /** Whether somebody would hear that a session's question has no answer, or somebody can answer it. */
  #isConversed(session: Session, conversation: Conversation): boolean {
    if (session.gateway !== undefined || this.#open.joined.has(session.id)) return true;
    return this.#assistants.choose(session, conversation).kind !== "none";
  }

  #stepping({ session, conversation }: Loaded, at = this.#options.clock()): Stepping {
    const choose = () => this.#assistants.choose(session, conversation);
    return { at, choose, turnTimeoutMs: this.#options.limits.turnTimeoutMs };
  }
}

/** What storing an answer comes to: a session that takes it no more ends the turn, and everything else is thrown on. */
function storedOrRefused<Result>(
  store: () => Decision<Result>,
): Decision<Result> | { readonly refusal: Extract<TurnEnd, { readonly kind: "failed" }> } {
  try {
    return store();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.kind === "failed_precondition")
      return { refusal: failed("SESSION_CLOSED", "the session was closed") };
    if (error.kind === "resource_exhausted")
      return { refusal: failed("ANSWER_REFUSED", `the answer can't be stored: ${error.message}`) };
    throw error;
  }
}

function tooManyWaiting(sessionId: SessionId, most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot send a message to session "${sessionId}": ${most} questions wait for their answers already, which is the most`,
    { reason: "TOO_MANY_TURNS", metadata: { limit: String(most) }, retryAfterMs: 1_000 },
  );
}
