import type { Instant, NewEvent } from "../events/event.ts";
import { messageKey } from "../messages/message.ts";
import { type Session, type SessionId, sessionEvent } from "../sessions/session.ts";
import { put, type RowChange } from "../store/store.ts";
import type { Table } from "../store/table.ts";

/** The questions of a session that have no answer yet, and who answers them. */
export interface Conversation {
  readonly sessionId: SessionId;
  /** In the order in which they were asked. Only the first one can be with an assistant. */
  readonly open: readonly OpenTurn[];
  /** The assistant that was asked last; empty before the first. */
  readonly assistantId: string;
}

/** A question that has not been answered yet. */
export interface OpenTurn {
  /** The question: a USER message of the session. */
  readonly messageId: string;
  /** Of the call that asked it. */
  readonly correlationId: string;
  readonly actor: string;
  readonly askedAt: Instant;
  /** How often it was handed to an assistant. What comes of an earlier attempt counts no more. */
  readonly attempt: number;
  readonly life: Asked | Running;
}

/** It waits for the turns before it, or, when it is the first, for an assistant. */
interface Asked {
  readonly state: "asked";
  readonly awaits: "turn" | "assistant";
  readonly since: Instant;
}

/** An assistant has it. */
export interface Running {
  readonly state: "running";
  readonly assistantId: string;
  /** What joins this attempt and what the assistant sends for it; new for each attempt. */
  readonly ticket: string;
  readonly since: Instant;
  /** When it fails if it has not ended. */
  readonly deadline: Instant;
}

export type RunningTurn = OpenTurn & { readonly life: Running };

/** A turn that is over. A question that no assistant could be asked has none. */
export interface EndedTurn {
  readonly sessionId: SessionId;
  readonly messageId: string;
  readonly askedAt: Instant;
  /** When an assistant got it; `null`: never. */
  readonly startedAt: Instant | null;
  readonly endedAt: Instant;
  readonly attempt: number;
  readonly end: TurnEnd;
}

export type TurnEnd =
  | { readonly kind: "answered"; readonly answerId: string }
  | { readonly kind: "failed"; readonly reason: TurnFailure; readonly words: string }
  | { readonly kind: "cancelled"; readonly words: string };

/** Why a question has no answer, for programs. */
export type TurnFailure =
  | "NO_ASSISTANT"
  | "ASSISTANT_BUSY"
  | "ASSISTANT_LOST"
  | "ASSISTANT_SILENT"
  | "ASSISTANT_ERROR"
  | "ANSWER_REFUSED"
  | "TURN_TIMED_OUT"
  | "SERVER_STOPPED"
  | "SESSION_CLOSED";

/** Who can be asked now: somebody, nobody yet, or nobody. */
export type Choice =
  | { readonly kind: "assistant"; readonly assistantId: string; readonly ticket: string }
  | { readonly kind: "expected" }
  | { readonly kind: "none"; readonly words: string };

/** What every step is told. */
export interface Stepping {
  readonly at: Instant;
  /** Asked when the first question is without an assistant. */
  readonly choose: () => Choice;
  /** How long an assistant may take for an answer, in milliseconds. */
  readonly turnTimeoutMs: number;
}

/** What a step has made of a conversation. */
export interface Step {
  readonly conversation: Conversation;
  readonly ended: readonly EndedTurn[];
  /** The turn that this step has given to an assistant. */
  readonly started: RunningTurn | undefined;
  readonly told: readonly Told[];
}

/** What is told of a turn in the log. */
interface Told {
  readonly type: "turn_queued" | "turn_started" | "turn_answered" | "turn_failed" | "turn_cancelled";
  readonly at: Instant;
  readonly actor: string;
  readonly correlationId: string;
  readonly assistantId: string;
  readonly data: Readonly<Record<string, string>>;
}

export const conversationTable: Table<Conversation> = {
  name: "conversations",
  bigints: "none",
  key: (conversation) => conversation.sessionId,
  columns: { openTurns: (conversation) => conversation.open.length },
};

export const turnTable: Table<EndedTurn> = {
  name: "turns",
  bigints: "none",
  key: (turn) => messageKey(turn.sessionId, turn.messageId),
  columns: { sessionId: (turn) => turn.sessionId },
};

/** The part that speaks in events of turns. */
const turnSource = "chat";

export function failed(reason: TurnFailure, words: string): Extract<TurnEnd, { readonly kind: "failed" }> {
  return { kind: "failed", reason, words };
}

export function newConversation(sessionId: SessionId): Conversation {
  return { sessionId, open: [], assistantId: "" };
}

/** A question is put behind those that wait, and given to an assistant if there are none. */
export function ask(
  conversation: Conversation,
  question: Pick<OpenTurn, "messageId" | "correlationId" | "actor">,
  stepping: Stepping,
): Step {
  const turn: OpenTurn = {
    ...question,
    askedAt: stepping.at,
    attempt: 0,
    life: { state: "asked", awaits: "turn", since: stepping.at },
  };
  const next = { ...conversation, open: [...conversation.open, turn] };
  if (conversation.open.length === 0) return goOn(next, stepping);
  return { conversation: next, ended: [], started: undefined, told: [queued(turn, stepping.at)] };
}

/**
 * Gives the first question to an assistant, if it is without one and there is somebody. Where there is nobody, and nobody
 * is expected, those that wait can't be answered.
 */
export function goOn(conversation: Conversation, stepping: Stepping): Step {
  return advanced({ conversation, ended: [], started: undefined, told: [] }, stepping);
}

/**
 * Ends a turn, and goes on with the next. `undefined` when there is no such turn any more; with an `attempt` also when it
 * is not with an assistant for that time: what is late changes nothing.
 */
export function endTurn(
  conversation: Conversation,
  which: { readonly messageId: string; readonly attempt?: number },
  end: TurnEnd,
  stepping: Stepping,
): Step | undefined {
  const turn = conversation.open.find(({ messageId }) => messageId === which.messageId);
  if (turn === undefined) return undefined;
  if (which.attempt !== undefined && !isAttempt(turn, which.attempt)) return undefined;
  return advanced(ended(unstepped(conversation), turn, { end, at: stepping.at }), stepping);
}

/** Ends all turns in the same way. */
export function endAllTurns(conversation: Conversation, end: TurnEnd, at: Instant): Step {
  return conversation.open.reduce((step, turn) => ended(step, turn, { end, at }), unstepped(conversation));
}

/**
 * Takes the running turn back from its assistant, to ask again; when that was tried `maxAttempts` times, it ends as
 * `failed` says. `undefined` when that attempt does not run any more.
 */
export function askAgain(
  conversation: Conversation,
  which: { readonly messageId: string; readonly attempt: number },
  again: { readonly maxAttempts: number; readonly failed: Extract<TurnEnd, { readonly kind: "failed" }> },
  stepping: Stepping,
): Step | undefined {
  const turn = conversation.open.find(({ messageId }) => messageId === which.messageId);
  if (turn === undefined || !isAttempt(turn, which.attempt)) return undefined;
  if (turn.attempt >= again.maxAttempts) return endTurn(conversation, which, again.failed, stepping);
  const asked: OpenTurn = { ...turn, life: { state: "asked", awaits: "turn", since: stepping.at } };
  return goOn(replaced(conversation, asked), stepping);
}

/** The rows that a step saves. */
export function rowsOf(step: Step, before: Conversation | undefined): readonly RowChange[] {
  // A question that went by without an assistant leaves nothing to remember.
  const isIdle = before === undefined && step.conversation.open.length === 0;
  const wentBy = (turn: EndedTurn) =>
    isUnasked(turn) && !before?.open.some(({ messageId }) => messageId === turn.messageId);
  const asked = step.ended.filter((turn) => !wentBy(turn));
  return [
    ...(isIdle || Bun.deepEquals(before, step.conversation)
      ? []
      : [put(conversationTable, step.conversation)]),
    ...asked.map((turn) => put(turnTable, turn)),
  ];
}

/** What a step tells in the log. */
export function eventsOf(step: Step, session: Session): readonly NewEvent[] {
  return step.told.map(({ assistantId, ...told }) =>
    sessionEvent(session, {
      ...told,
      source: turnSource,
      ...(assistantId === "" ? {} : { agentId: assistantId }),
      ...(told.type === "turn_failed" ? { priority: "high" } : {}),
    }),
  );
}

export function isRunning(turn: OpenTurn): turn is RunningTurn {
  return turn.life.state === "running";
}

/** Whether there was nobody to ask. */
function isUnasked({ end }: EndedTurn): boolean {
  return end.kind === "failed" && end.reason === "NO_ASSISTANT";
}

function isAttempt(turn: OpenTurn, attempt: number): boolean {
  return isRunning(turn) && turn.attempt === attempt;
}

function unstepped(conversation: Conversation): Step {
  return { conversation, ended: [], started: undefined, told: [] };
}

/** The step with the first question asked, waiting, or failed; in the last case the next one is the first. */
function advanced(from: Step, stepping: Stepping): Step {
  let step = from;
  for (;;) {
    const [first] = step.conversation.open;
    if (first === undefined || isRunning(first)) return step;
    const choice = stepping.choose();
    switch (choice.kind) {
      case "assistant":
        return begun(step, first, choice, stepping);
      case "expected":
        return waiting(step, first, stepping.at);
      case "none":
        step = ended(step, first, { end: failed("NO_ASSISTANT", choice.words), at: stepping.at });
    }
  }
}

function begun(
  step: Step,
  turn: OpenTurn,
  choice: Extract<Choice, { readonly kind: "assistant" }>,
  { at, turnTimeoutMs }: Stepping,
): Step {
  const { assistantId, ticket } = choice;
  const started: RunningTurn = {
    ...turn,
    attempt: turn.attempt + 1,
    life: { state: "running", assistantId, ticket, since: at, deadline: at + turnTimeoutMs },
  };
  return {
    ...step,
    conversation: { ...replaced(step.conversation, started), assistantId },
    started,
    told: [...step.told, told(started, { type: "turn_started", at, data: {} })],
  };
}

function waiting(step: Step, turn: OpenTurn, at: Instant): Step {
  const { life } = turn;
  if (life.state === "asked" && life.awaits === "assistant") return step;
  const waits: OpenTurn = { ...turn, life: { state: "asked", awaits: "assistant", since: at } };
  return {
    ...step,
    conversation: replaced(step.conversation, waits),
    told: [...step.told, queued(waits, at)],
  };
}

function ended(step: Step, turn: OpenTurn, how: { readonly end: TurnEnd; readonly at: Instant }): Step {
  const { conversation } = step;
  const { end, at } = how;
  const over: EndedTurn = {
    sessionId: conversation.sessionId,
    messageId: turn.messageId,
    askedAt: turn.askedAt,
    startedAt: isRunning(turn) ? turn.life.since : null,
    endedAt: at,
    attempt: turn.attempt,
    end,
  };
  return {
    ...step,
    conversation: { ...conversation, open: conversation.open.filter((other) => other !== turn) },
    ended: [...step.ended, over],
    told: [...step.told, told(turn, { at, ...wordsOf(end) })],
  };
}

function wordsOf(end: TurnEnd): Pick<Told, "type" | "data"> {
  switch (end.kind) {
    case "answered":
      return { type: "turn_answered", data: { answer_id: end.answerId } };
    case "failed":
      return { type: "turn_failed", data: { error: end.words, reason: end.reason } };
    case "cancelled":
      return { type: "turn_cancelled", data: { reason: end.words } };
  }
}

function queued(turn: OpenTurn, at: Instant): Told {
  const { life } = turn;
  const data = life.state === "asked" ? { awaits: life.awaits } : {};
  return told(turn, { type: "turn_queued", at, data });
}

function told(turn: OpenTurn, what: Pick<Told, "type" | "at" | "data">): Told {
  return {
    ...what,
    actor: turn.actor,
    correlationId: turn.correlationId,
    assistantId: isRunning(turn) ? turn.life.assistantId : "",
    data: { message_id: turn.messageId, attempt: String(turn.attempt), ...what.data },
  };
}

function replaced(conversation: Conversation, turn: OpenTurn): Conversation {
  const open = conversation.open.map((other) => (other.messageId === turn.messageId ? turn : other));
  return { ...conversation, open };
}
