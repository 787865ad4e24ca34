import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  ask,
  askAgain,
  type Choice,
  type Conversation,
  type EndedTurn,
  endAllTurns,
  endTurn,
  eventsOf,
  failed,
  goOn,
  isRunning,
  newConversation,
  rowsOf,
  type Step,
  type Stepping,
} from "../../src/chat/turn.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { plainSession } from "./plain-session.ts";

const sessionId = "s" as SessionId;
const somebody: Choice = { kind: "assistant", assistantId: "a", ticket: "t" };
const expected: Choice = { kind: "expected" };
const nobody: Choice = { kind: "none", words: "there is nobody" };

function stepping(choice: Choice, at = 1_000): Stepping {
  return { at, choose: () => choice, turnTimeoutMs: 60_000 };
}

function question(messageId: string) {
  return { messageId, correlationId: `c-${messageId}`, actor: "uid:7" };
}

/** A conversation with these questions, the first of which an assistant has. */
function asked(...ids: string[]): Conversation {
  return ids.reduce(
    (conversation, id) => ask(conversation, question(id), stepping(somebody)).conversation,
    newConversation(sessionId),
  );
}

function states({ open }: Conversation): readonly string[] {
  return open.map(({ messageId, life, attempt }) => `${messageId} ${life.state} ${attempt}`);
}

describe("ask()", () => {
  test("gives the first question to an assistant, with a deadline", () => {
    const step = ask(newConversation(sessionId), question("m"), stepping(somebody));
    expect(step.started).toMatchObject({
      messageId: "m",
      attempt: 1,
      life: { state: "running", assistantId: "a", ticket: "t", since: 1_000, deadline: 61_000 },
    });
    expect(step.told.map(({ type }) => type)).toEqual(["turn_started"]);
  });

  test("lets the next ones wait in order", () => {
    const conversation = asked("m1", "m2", "m3");
    expect(states(conversation)).toEqual(["m1 running 1", "m2 asked 0", "m3 asked 0"]);
  });

  test("waits for an assistant that is expected, and fails at once when there is nobody", () => {
    const waits = ask(newConversation(sessionId), question("m"), stepping(expected));
    expect(waits.conversation.open).toMatchObject([{ life: { state: "asked", awaits: "assistant" } }]);
    expect(waits.told).toMatchObject([{ type: "turn_queued", data: { awaits: "assistant" } }]);
    const fails = ask(newConversation(sessionId), question("m"), stepping(nobody));
    expect(fails.conversation.open).toEqual([]);
    expect(fails.ended).toMatchObject([
      { messageId: "m", end: { kind: "failed", reason: "NO_ASSISTANT", words: "there is nobody" } },
    ]);
    expect(rowsOf(fails, undefined)).toEqual([]);
  });
});

describe("goOn()", () => {
  test("tells a wait for an assistant once", () => {
    const { conversation } = ask(newConversation(sessionId), question("m"), stepping(expected));
    expect(goOn(conversation, stepping(expected, 2_000))).toMatchObject({ conversation, told: [] });
    expect(states(goOn(conversation, stepping(somebody)).conversation)).toEqual(["m running 1"]);
  });
});

describe("endTurn()", () => {
  const answered = { kind: "answered", answerId: "r" } as const;

  test("gives the assistant the next question", () => {
    const step = endTurn(asked("m1", "m2"), { messageId: "m1", attempt: 1 }, answered, stepping(somebody));
    expect(step?.ended).toMatchObject([{ messageId: "m1", end: answered, startedAt: 1_000 }]);
    expect(step?.started?.messageId).toBe("m2");
    expect(step?.told.map(({ type }) => type)).toEqual(["turn_answered", "turn_started"]);
  });

  test("of another attempt, of one that has ended, or of one that waits changes nothing", () => {
    const conversation = asked("m1", "m2");
    for (const which of [
      { messageId: "m1", attempt: 2 },
      { messageId: "m0", attempt: 1 },
      { messageId: "m2", attempt: 0 },
    ])
      expect(endTurn(conversation, which, answered, stepping(somebody))).toBeUndefined();
  });

  test("of one that waits leaves the one before it alone", () => {
    const step = endTurn(
      asked("m1", "m2", "m3"),
      { messageId: "m2" },
      { kind: "cancelled", words: "no more" },
      stepping(somebody),
    );
    expect(step && states(step.conversation)).toEqual(["m1 running 1", "m3 asked 0"]);
    expect(step?.started).toBeUndefined();
  });

  test("with nobody there any more fails all that wait", () => {
    const step = endTurn(asked("m1", "m2", "m3"), { messageId: "m1" }, answered, stepping(nobody));
    expect(step?.ended.map(({ messageId, end }) => `${messageId} ${end.kind}`)).toEqual([
      "m1 answered",
      "m2 failed",
      "m3 failed",
    ]);
  });
});

describe("askAgain()", () => {
  const lost = failed("SERVER_STOPPED", "too often");

  test("counts the attempt, and ends the turn at the last", () => {
    const first = asked("m");
    const second = askAgain(
      first,
      { messageId: "m", attempt: 1 },
      { maxAttempts: 2, failed: lost },
      stepping(somebody),
    );
    expect(second && states(second.conversation)).toEqual(["m running 2"]);
    const third = askAgain(
      second?.conversation ?? first,
      { messageId: "m", attempt: 2 },
      { maxAttempts: 2, failed: lost },
      stepping(somebody),
    );
    expect(third?.ended).toMatchObject([{ end: lost, attempt: 2 }]);
  });

  test("of an attempt that does not run changes nothing", () => {
    const again = { maxAttempts: 2, failed: lost };
    expect(askAgain(asked("m"), { messageId: "m", attempt: 2 }, again, stepping(somebody))).toBeUndefined();
  });
});

describe("eventsOf()", () => {
  test("gives each event the session's labels, the turn's caller and the assistant", () => {
    const step = endTurn(
      asked("m"),
      { messageId: "m" },
      failed("ASSISTANT_ERROR", "no tokens left"),
      stepping(somebody),
    );
    expect(step && eventsOf(step, plainSession(sessionId))).toMatchObject([
      {
        type: "turn_failed",
        source: "chat",
        sessionId,
        agentId: "a",
        actor: "uid:7",
        correlationId: "c-m",
        priority: "high",
        labels: { team: "red" },
        data: { message_id: "m", attempt: "1", error: "no tokens left", reason: "ASSISTANT_ERROR" },
      },
    ]);
  });
});

describe("the steps of a conversation", () => {
  /** Something that happens; numbers are places among the questions so far. */
  const happening = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ what: "ask" } as const) },
    fc.record({ what: fc.constant("answer" as const), which: fc.nat(20), attempt: fc.nat(4) }),
    fc.record({ what: fc.constant("cancel" as const), which: fc.nat(20) }),
    fc.record({ what: fc.constant("again" as const), which: fc.nat(20), attempt: fc.nat(4) }),
    fc.constant({ what: "go on" } as const),
    { weight: 1, arbitrary: fc.constant({ what: "close" } as const) },
  );
  const choices = fc.constantFrom(somebody, expected, nobody);

  test("give each question one end at most, in one place at a time, and keep their order", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(happening, choices), { maxLength: 60 }), (happenings) => {
        let conversation = newConversation(sessionId);
        const ended: EndedTurn[] = [];
        const ids: string[] = [];
        for (const [at, [event, choice]] of happenings.entries()) {
          const step = stepOf(conversation, event, { ids, stepping: stepping(choice, at) });
          if (step === undefined) continue;
          ended.push(...step.ended);
          conversation = step.conversation;
          const open = conversation.open.map(({ messageId }) => messageId);
          const over = ended.map(({ messageId }) => messageId);
          // Every question is open or has ended, once.
          expect([...open, ...over].toSorted()).toEqual(ids.toSorted());
          expect(open).toEqual(ids.filter((id) => open.includes(id)));
          // Only the first is with an assistant, and a step that starts one starts that.
          expect(conversation.open.slice(1).filter(isRunning)).toEqual([]);
          if (step.started !== undefined)
            expect(step.started).toBe(conversation.open[0] as typeof step.started);
          for (const { attempt } of conversation.open) expect(attempt).toBeLessThanOrEqual(3);
          // What has ended is told, and saved if somebody was asked.
          const ends = step.told.filter(({ type }) => !/queued|started/.test(type));
          expect(ends.map(({ data }) => data.message_id)).toEqual(
            step.ended.map(({ messageId }) => messageId),
          );
        }
      }),
      { numRuns: 500 },
    );
  });
});

function stepOf(
  conversation: Conversation,
  event: { readonly what: string; readonly which?: number; readonly attempt?: number },
  given: { readonly ids: string[]; readonly stepping: Stepping },
): Step | undefined {
  const { ids } = given;
  const messageId = ids[(event.which ?? 0) % Math.max(1, ids.length)] ?? "m?";
  const attempt = event.attempt ?? 0;
  switch (event.what) {
    case "ask": {
      const id = `m${String(ids.length).padStart(3, "0")}`;
      ids.push(id);
      return ask(conversation, question(id), given.stepping);
    }
    case "answer":
      return endTurn(
        conversation,
        { messageId, attempt },
        { kind: "answered", answerId: "r" },
        given.stepping,
      );
    case "cancel":
      return endTurn(conversation, { messageId }, { kind: "cancelled", words: "no" }, given.stepping);
    case "again":
      return askAgain(
        conversation,
        { messageId, attempt },
        { maxAttempts: 3, failed: failed("ASSISTANT_LOST", "gone") },
        given.stepping,
      );
    case "close":
      return endAllTurns(conversation, failed("SESSION_CLOSED", "closed"), given.stepping.at);
    default:
      return goOn(conversation, given.stepping);
  }
}
