import type { AgentId } from "../agents/agent.ts";
import { messageKey } from "../messages/message.ts";
import type { SessionId } from "../sessions/session.ts";
import type { Assistants } from "./assistants.ts";
import { type AnswerLimits, IncomingAnswer } from "./incoming-answer.ts";
import { LiveTurn } from "./live-turn.ts";
import { SessionListeners } from "./session-listeners.ts";
import { type EndedTurn, isRunning, type OpenTurn, type Step } from "./turn.ts";

/** A turn that has not ended, with all that is kept of it in memory. */
export interface OpenEntry {
  readonly live: LiveTurn;
  turn: OpenTurn;
  incoming: IncomingAnswer;
  /** When its assistant was last heard of it, or it began to wait, by a clock that is never set. Milliseconds. */
  heardMs: number;
  /** What of its answer counts among those that are being made, in bytes. */
  heldBytes: number;
  /** When its session was last told of activity, by the same clock. */
  touchedMs: number;
  /** The answer, when it is whole and not stored yet. */
  whole: WholeAnswer | undefined;
}

interface WholeAnswer {
  /** What of it the readers have not got yet. */
  readonly last: string;
  readonly about: Readonly<Record<string, string>>;
  /** Whether it is being stored. */
  state: "storing" | "refused";
}

/** What a step has brought about, for whoever acts on it. */
export interface Applied {
  /** The turn that an assistant is to be asked. */
  readonly started: OpenEntry | undefined;
  /** Those that have ended while an assistant had them. */
  readonly taken: readonly {
    readonly assistantId: AgentId;
    readonly ticket: string;
    readonly turn: EndedTurn;
  }[];
}

/** What a part of an answer costs at least, in bytes: a short one is more than its text. */
const leastPartBytes = 256;

/**
 * The turns that have not ended, in memory: as the rows have them, since each step is applied when it is committed, in the
 * order of the commits.
 */
export class OpenTurns {
  readonly #entries = new Map<string, OpenEntry>();
  readonly #tickets = new Map<string, OpenEntry>();
  readonly #byAssistant = new Map<AgentId, Set<OpenEntry>>();
  /** Hear of each turn when an assistant gets it, or it ends without. */
  readonly followers = new SessionListeners<LiveTurn>();
  /** Sessions with a stream on which messages and answers are told. */
  readonly joined = new Joined();
  /** Sessions whose first question waits for an assistant. */
  readonly waiting = new Set<SessionId>();
  readonly #assistants: Assistants;
  readonly #limits: AnswerLimits;
  /** Bytes of the answers that are not stored yet. */
  heldBytes = 0;

  constructor(assistants: Assistants, limits: AnswerLimits) {
    this.#assistants = assistants;
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  all(): Iterable<OpenEntry> {
    return this.#entries.values();
  }

  get(sessionId: SessionId, messageId: string): OpenEntry | undefined {
    return this.#entries.get(messageKey(sessionId, messageId));
  }

  byTicket(ticket: string): OpenEntry | undefined {
    return this.#tickets.get(ticket);
  }

  /** The turns that an assistant has. */
  of(assistantId: AgentId): readonly OpenEntry[] {
    return [...(this.#byAssistant.get(assistantId) ?? [])];
  }

  /** The turn of a session that an assistant has. */
  running(sessionId: SessionId): LiveTurn | undefined {
    for (const { live, turn } of this.#entries.values()) {
      if (live.sessionId === sessionId && isRunning(turn)) return live;
    }
    return undefined;
  }

  /** A piece of an answer has come. */
  add(entry: OpenEntry, text: string, bytes: number): void {
    this.hold(entry, bytes);
    entry.live.add(text, bytes);
  }

  /** A part of an answer counts, until the answer is stored or given up. */
  hold(entry: OpenEntry, bytes: number): void {
    const held = Math.max(bytes, leastPartBytes);
    entry.heldBytes += held;
    this.heldBytes += held;
  }

  apply(step: Step, nowMs: number): Applied {
    const { conversation } = step;
    const taken = step.ended.flatMap((turn) => this.#end(turn));
    for (const turn of conversation.open) this.#keep(conversation.sessionId, turn, nowMs);
    const [first] = conversation.open;
    const waits = first?.life.state === "asked" && first.life.awaits === "assistant";
    if (waits) this.waiting.add(conversation.sessionId);
    else this.waiting.delete(conversation.sessionId);
    const started =
      step.started === undefined ? undefined : this.get(conversation.sessionId, step.started.messageId);
    return { started, taken };
  }

  #keep(sessionId: SessionId, turn: OpenTurn, nowMs: number): void {
    const key = messageKey(sessionId, turn.messageId);
    const known = this.#entries.get(key);
    if (known?.turn === turn) return;
    const entry: OpenEntry = known ?? {
      live: new LiveTurn({ ...turn, sessionId }),
      turn,
      incoming: new IncomingAnswer(this.#limits),
      heardMs: nowMs,
      heldBytes: 0,
      touchedMs: nowMs,
      whole: undefined,
    };
    this.#entries.set(key, entry);
    const isNews = known === undefined || isElsewhere(known.turn, turn);
    if (known !== undefined && isRunning(known.turn) && isNews) this.#release(known);
    entry.turn = turn;
    if (!isNews) return;
    entry.heardMs = nowMs;
    if (!isRunning(turn)) return;
    entry.incoming = new IncomingAnswer(this.#limits);
    entry.live.start(turn);
    this.#take(entry, turn.life.assistantId, turn.life.ticket);
    this.followers.tell(entry.live.sessionId, entry.live);
  }

  #take(entry: OpenEntry, assistantId: string, ticket: string): void {
    const id = assistantId as AgentId; // chosen among agents
    this.#tickets.set(ticket, entry);
    const theirs = this.#byAssistant.get(id) ?? new Set();
    this.#byAssistant.set(id, theirs.add(entry));
    this.#assistants.count(id, 1);
  }

  /** Its assistant has it no more. */
  #release(entry: OpenEntry): { readonly assistantId: AgentId; readonly ticket: string } | undefined {
    const { turn, live } = entry;
    if (!isRunning(turn)) return undefined;
    this.heldBytes -= entry.heldBytes;
    entry.heldBytes = 0;
    const { ticket } = turn.life;
    const assistantId = turn.life.assistantId as AgentId; // chosen among agents
    this.#tickets.delete(ticket);
    const theirs = this.#byAssistant.get(assistantId);
    theirs?.delete(entry);
    if (theirs?.size === 0) this.#byAssistant.delete(assistantId);
    this.#assistants.count(assistantId, -1);
    live.takeBack();
    return { assistantId, ticket };
  }

  #end(turn: EndedTurn): Applied["taken"] {
    const key = messageKey(turn.sessionId, turn.messageId);
    const entry = this.#entries.get(key);
    if (entry === undefined) return [];
    this.#entries.delete(key);
    const released = this.#release(entry);
    entry.live.end(turn, turn.end.kind === "answered" ? entry.whole?.last : "");
    if (released === undefined) this.followers.tell(entry.live.sessionId, entry.live);
    return released === undefined ? [] : [{ ...released, turn }];
  }
}

/** Whether a turn has come to wait for something else, or to an assistant. */
function isElsewhere(before: OpenTurn, now: OpenTurn): boolean {
  return before.attempt !== now.attempt || awaited(before) !== awaited(now);
}

function awaited({ life }: OpenTurn): "turn" | "assistant" | "answer" {
  return life.state === "asked" ? life.awaits : "answer";
}

/** In which sessions somebody is, and how many. */
class Joined {
  readonly #counts = new Map<SessionId, number>();

  has(id: SessionId): boolean {
    return this.#counts.has(id);
  }

  /** Returns the way to leave. */
  join(id: SessionId): () => void {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return () => {
      const rest = (this.#counts.get(id) ?? 0) - 1;
      if (rest > 0) this.#counts.set(id, rest);
      else this.#counts.delete(id);
    };
  }
}
