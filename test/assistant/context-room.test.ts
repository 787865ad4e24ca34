import { expect, test } from "bun:test";
import fc from "fast-check";
import { fittedIn } from "../../src/assistant/context-room.ts";
import type { Said } from "../../src/assistant/provider.ts";

const user = (text: string): Said => ({ by: "user", text });
const calls: Said = { by: "assistant", text: "", calls: [{ id: "c", name: "t", input: {} }] };
const tools = (text: string): Said => ({ by: "tools", results: [{ id: "c", name: "t", text }] });

test("fittedIn() leaves what fits as it is", () => {
  const said = [user("a"), calls, tools("b"), user("c")];
  expect(fittedIn(1_000, { said, question: 3 })).toEqual({ said, leftOut: 0 });
});

test("fittedIn() leaves out the oldest first, results with their calls", () => {
  const said = [calls, tools("x".repeat(300)), user("old"), user("question")];
  expect(fittedIn(30, { said, question: 3 })).toEqual({ said: said.slice(2), leftOut: 2 });
});

test("fittedIn() takes words from this turn's older results, and keeps the question and the newest", () => {
  const said = [user("question"), calls, tools("x".repeat(900)), calls, tools("y".repeat(90))];
  const fitted = fittedIn(150, { said, question: 0 });
  expect(fitted?.said[2]).toEqual(tools("[this result had no room any more]"));
  expect(fitted?.said[4]).toEqual(said[4] ?? user(""));
  expect(fitted?.leftOut).toBe(0);
});

test("fittedIn() says when question and newest results alone are too much", () => {
  const said = [user("old"), user("question"), calls, tools("x".repeat(900))];
  expect(fittedIn(100, { said, question: 1 })).toBeUndefined();
});

test("fittedIn() never begins with results whose call it has left out", () => {
  const entry = fc.oneof(
    fc.string({ maxLength: 60 }).map((text) => [user(text)]),
    fc.string({ maxLength: 60 }).map((text) => [calls, tools(text)]),
  );
  fc.assert(
    fc.property(fc.array(entry), fc.nat(200), (before, maxTokens) => {
      const said = [...before.flat(), user("q")];
      const fitted = fittedIn(maxTokens, { said, question: said.length - 1 });
      expect(fitted?.said[0]?.by).not.toBe("tools");
      if (fitted !== undefined) expect(fitted.said).toEqual(said.slice(fitted.leftOut));
    }),
  );
});
