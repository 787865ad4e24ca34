import { describe, expect, test } from "bun:test";
import { replay } from "../../src/cli/answered-by-terminals.ts";

/** What is shown of pieces that come one after the other. */
function shown(...pieces: readonly string[]): string {
  const old = replay();
  const taken = pieces.map((piece) => Buffer.from(old.take(Buffer.from(piece))).toString("latin1"));
  return taken.join("") + Buffer.from(old.rest()).toString("latin1");
}

const QUESTIONS = [
  "\u0005",
  "\u001bZ",
  "\u001b[c",
  "\u001b[>0c",
  "\u001b[=c",
  "\u001b[6n",
  "\u001b[?6n",
  "\u001b[?2026$p",
  "\u001b[>0q",
  "\u001b[?u",
  "\u001b[18t",
  "\u001b]11;?\u0007",
  "\u001b]4;1;?\u001b\\",
  "\u001b]52;c;?\u0007",
  "\u001bP$qm\u001b\\",
  "\u001bP+q544e\u001b\\",
];

describe("replay()", () => {
  test.each(QUESTIONS)("takes out %j, wherever it is cut in two", (question) => {
    expect(shown(`a${question}b`)).toBe("ab");
    for (let at = 1; at < question.length; at++)
      expect(shown(`a${question.slice(0, at)}`, `${question.slice(at)}b`)).toBe("ab");
  });

  test.each([
    "\u001b[1;32mgreen\u001b[m",
    "\u001b[2J\u001b[H\u001b[?1049h\u001b[?25l",
    "\u001b[2;5r\u001b[22;0;0t\u001b[>4;2m\u001b[2 q\u001b[!p",
    "\u001b]0;a title?no\u0007",
    "line\r\n\u001b",
    "\u001b[3",
  ])("leaves %j", (text) => {
    expect(shown(text)).toBe(text);
    expect(shown(...text)).toBe(text);
  });

  test("leaves bytes that are no text", () => {
    const bytes = Uint8Array.from({ length: 250 }, (_, index) => index + 6);
    const old = replay();
    expect([...old.take(bytes), ...old.rest()]).toEqual([...bytes]);
  });

  test("take() holds back no more than a question is long", () => {
    const old = replay();
    const picture = `\u001bP${"x".repeat(100_000)}`;
    expect(old.take(Buffer.from(picture))).toHaveLength(picture.length);
  });
});
