import { describe, expect, test } from "bun:test";
import { Assistants } from "../../src/chat/assistants.ts";
import { OpenTurns } from "../../src/chat/open-turns.ts";
import { ask, type Choice, endTurn, failed, newConversation, type Stepping } from "../../src/chat/turn.ts";
import type { SessionId } from "../../src/sessions/session.ts";

const sessionId = "s" as SessionId;

function stepping(choice: Choice): Stepping {
  return { at: 1_000, choose: () => choice, turnTimeoutMs: 60_000 };
}

function question(messageId: string) {
  return { messageId, correlationId: "", actor: "uid:7" };
}

const somebody = stepping({ kind: "assistant", assistantId: "a", ticket: "t" });
const nobodyYet = stepping({ kind: "expected" });

describe("OpenTurns.hold()", () => {
  test("counts the last part of an answer too, until the turn is over", () => {
    const open = new OpenTurns(new Assistants("none"), { maxBytes: 10_000, maxParts: 10 });
    const asked = ask(newConversation(sessionId), question("m1"), somebody);
    open.apply(asked, 0);
    const entry = open.get(sessionId, "m1");
    if (entry === undefined) throw new Error("the turn is not open");
    open.add(entry, "x".repeat(1_000), 1_000);
    open.hold(entry, 5_000);
    expect(open.heldBytes).toBe(6_000);
    const over = endTurn(
      asked.conversation,
      { messageId: "m1" },
      { kind: "answered", answerId: "a1" },
      nobodyYet,
    );
    if (over !== undefined) open.apply(over, 1);
    expect(open.heldBytes).toBe(0);
  });
});

describe("OpenTurns.apply()", () => {
  test("counts the wait for an assistant from when a question is the first, not from when it was asked", () => {
    const open = new OpenTurns(new Assistants("none"), { maxBytes: 1_000, maxParts: 10 });
    const first = ask(newConversation(sessionId), question("m1"), somebody);
    open.apply(first, 0);
    const both = ask(first.conversation, question("m2"), somebody);
    open.apply(both, 100);
    const lost = endTurn(both.conversation, { messageId: "m1" }, failed("ASSISTANT_LOST", "gone"), nobodyYet);
    expect(lost).toBeDefined();
    if (lost !== undefined) open.apply(lost, 9_000);
    expect(open.get(sessionId, "m2")).toMatchObject({
      heardMs: 9_000,
      turn: { life: { state: "asked", awaits: "assistant" } },
    });
  });
});
