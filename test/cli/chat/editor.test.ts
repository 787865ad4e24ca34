import { expect, test } from "bun:test";
import fc from "fast-check";
import { DraftView } from "../../../src/cli/chat/draft-view.ts";
import { type Draft, EMPTY, edited, hasLine, typed } from "../../../src/cli/chat/editor.ts";
import { History } from "../../../src/cli/chat/history.ts";
import type { KeyName } from "../../../src/cli/chat/keys.ts";

/** The place as a bar. */
function draft(text: string): Draft {
  return { text: text.replace("|", ""), at: text.indexOf("|") };
}

test.each<[string, KeyName, string]>([
  ["one two|", "backspace", "one tw|"],
  ["a👩‍👩‍👧|b", "backspace", "a|b"],
  ["a|👩‍👩‍👧b", "delete", "a|b"],
  ["one two |", "kill-word", "one |"],
  ["one\ntwo th|ree", "kill-line", "one\n|ree"],
  ["o|ne\ntwo", "kill-rest", "o|\ntwo"],
  ["one\ntwo|", "home", "one\n|two"],
  ["|one\ntwo", "end", "one|\ntwo"],
  ["one two| three", "word-left", "one |two three"],
  ["one| two three", "word-right", "one two| three"],
  ["one\ntw|o", "up", "on|e\ntwo"],
  ["o\ntwo|", "up", "o|\ntwo"],
  ["on|e\ntwo", "down", "one\ntw|o"],
  ["one|", "newline", "one\n|"],
  ["|", "left", "|"],
  ["one|", "right", "one|"],
])("edited() takes %j with %s to %j", (before, key, after) => {
  expect(edited(draft(before), key)).toEqual(draft(after));
});

test("edited() never leaves the text, and never cuts a character", () => {
  const keys = fc.constantFrom<KeyName>(
    "left",
    "right",
    "up",
    "down",
    "home",
    "end",
    "backspace",
    "delete",
    "kill-word",
  );
  const step = fc.oneof(keys, fc.constantFrom("a", "é👩‍👧", "x y", "\n"));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let now = EMPTY;
      for (const one of steps) now = /^[a-z-]{2,}$/.test(one) ? edited(now, one as KeyName) : typed(now, one);
      expect(now.at).toBeGreaterThanOrEqual(0);
      expect(now.at).toBeLessThanOrEqual(now.text.length);
      expect(now.text.isWellFormed()).toBe(true);
    }),
  );
});

test("hasLine() says whether Up and Down stay in the text", () => {
  expect([hasLine(draft("a\n|b"), "above"), hasLine(draft("a|\nb"), "above")]).toEqual([true, false]);
  expect([hasLine(draft("a\n|b"), "below"), hasLine(draft("a|\nb"), "below")]).toEqual([false, true]);
});

test("History goes back and forth, and keeps what was being typed", () => {
  const history = new History(["one", "two"]);
  expect([history.older("new"), history.older("two"), history.older("one")]).toEqual([
    "two",
    "one",
    undefined,
  ]);
  expect([history.newer(), history.newer(), history.newer()]).toEqual(["two", "new", undefined]);
});

test("DraftView draws over what it has drawn, also where lines are longer than the terminal", () => {
  const view = new DraftView();
  expect(view.draw(draft("ab|c"), 80)).toBe("\r\u001b[J> abc\r\u001b[4C");
  expect(view.draw(draft("one\ntwo|"), 80)).toBe("\r\u001b[J> one\r\n  two\r\u001b[5C");
  // One row up to where it began; the place is on the second of three rows.
  expect(view.draw(draft("12345678901|234567890"), 10)).toBe(
    "\r\u001b[1A\u001b[J> 12345678901234567890\r\u001b[1A\u001b[3C",
  );
  expect(view.clear()).toBe("\r\u001b[1A\u001b[J");
});
