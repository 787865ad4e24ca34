import { expect, test } from "bun:test";
import { AnswerView } from "../../../src/cli/chat/answer-view.ts";
import type { ShownCall } from "../../../src/cli/chat/tool-calls.ts";

function view(more: { readonly isUnfolded?: boolean } = {}): AnswerView {
  return new AnswerView({
    isPainted: false,
    isUnfolded: () => more.isUnfolded ?? false,
    unfoldHint: "unfold",
  });
}

const BEGUN: ShownCall = { id: "c", name: "run", input: "ls\n -l", result: undefined, answerBytes: 5 };
const ENDED: ShownCall = { ...BEGUN, result: { text: "a\nb\n[exit code 0]", isFailure: false } };

test("AnswerView puts a tool where it was called, with what it gave folded", () => {
  const answer = view();
  const shown = [
    answer.call(BEGUN),
    answer.text("First"),
    answer.call(ENDED),
    answer.text("Then."),
    answer.end(),
  ];
  expect(shown.join("")).toBe("First\n▸ run ls -l\n  ✓ [exit code 0], 3 lines; unfold\nThen.\n");
  expect(shown[0]).toBe("");
  expect(answer.ended).toEqual([ENDED]);
});

test("AnswerView holds back the answer for a tool of which it has not heard the end", () => {
  const answer = view({ isUnfolded: true });
  const shown = [
    answer.text("First"),
    answer.call(BEGUN),
    answer.text("Th"),
    answer.text("en."),
    answer.call(ENDED),
  ];
  expect(shown).toEqual(["First", "\n▸ run ls -l\n", "", "", "  │ a\n  │ b\n  │ [exit code 0]\n  ✓\nThen."]);
});

test("AnswerView shows at the end what it has held back for a tool that never ended", () => {
  const answer = view();
  answer.text("First");
  answer.call(BEGUN);
  answer.text("Then.");
  expect(answer.end()).toBe("Then.\n");
});

test("AnswerView says that a tool has failed, and begins anew when the answer does", () => {
  const answer = view();
  const failed = { ...ENDED, answerBytes: 0, result: { text: "no \u001b[2Jengine", isFailure: true } };
  expect(answer.call(failed)).toBe("  ✗ no [2Jengine\n");
  expect(answer.text("half") + answer.again() + answer.text("whole") + answer.end()).toBe(
    "half\n(the answer begins anew)\nwhole\n",
  );
});
