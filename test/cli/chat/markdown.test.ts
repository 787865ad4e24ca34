import { expect, test } from "bun:test";
import fc from "fast-check";
import { MarkdownPainter } from "../../../src/cli/chat/markdown.ts";

function painted(...pieces: readonly string[]): string {
  const painter = new MarkdownPainter();
  return pieces.map((piece) => painter.write(piece)).join("") + painter.end();
}

/** Styles as words, so that a test can be read. */
function shown(...pieces: readonly string[]): string {
  const words: Readonly<Record<string, string>> = {
    "1": "<b>",
    "22": "</b>",
    "3": "<i>",
    "23": "</i>",
    "36": "<c>",
    "39": "</c>",
    "1;4": "<h>",
    "22;24": "</h>",
    "2": "<f>",
  };
  const text = painted(...pieces);
  return Object.entries(words).reduce((all, [code, word]) => all.replaceAll(`\u001b[${code}m`, word), text);
}

test.each([
  ["plain words\n", "plain words\n"],
  ["# Title\ntext", "<h>Title</h>\ntext"],
  ["- one\n  * two\n", "• one\n  • two\n"],
  ["a **b** `c **d**` *e* 2 * 3\n", "a <b>b</b> <c>c **d**</c> <i>e</i> 2 * 3\n"],
  ["> said\n", "<f>▏</b> said\n"],
  [
    "```python\nprint(1)\n# no title\n```\nafter\n",
    "<f>│</b> <c>print(1)</c>\n<f>│</b> <c># no title</c>\nafter\n",
  ],
  ["````\n```\n````", "<f>│</b> <c>```</c>\n"],
  ["```\nnot ended", "<f>│</b> <c>not ended</c>"],
  ["**not ended\nnext", "<b>not ended</b>\nnext"],
  ["1. one\n#hash **x**", "1. one\n#hash <b>x</b>"],
])("MarkdownPainter makes %j readable", (markdown, expected) => {
  expect(shown(markdown)).toBe(expected);
});

test("MarkdownPainter shows the same however the text is cut", () => {
  const piece = fc.constantFrom("#", " ", "-", "*", "**", "`", "```", "\n", "a", "é", "x y", "> ", "1.");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), fc.array(fc.nat(40)), (pieces, cuts) => {
      const text = pieces.join("");
      const places = [
        0,
        ...cuts.map((cut) => Math.min(cut, text.length)).toSorted((a, b) => a - b),
        text.length,
      ];
      const cut = places.slice(1).map((end, index) => text.slice(places[index], end));
      expect(painted(...cut)).toBe(painted(text));
    }),
  );
});

test("MarkdownPainter shows words as they come, and holds back only what may begin something", () => {
  const painter = new MarkdownPainter();
  expect(painter.write("Hel")).toBe("Hel");
  expect(painter.write("lo *")).toBe("lo ");
  expect(painter.write("x* \n")).toContain("x");
  expect(painter.write("``")).toBe("");
});

test("MarkdownPainter lets nothing through that a terminal would obey", () => {
  expect(painted("a\u001b]0;title\u0007b\u001b[2Jc\rd\u202ee\n")).toBe("a]0;titleb[2Jcde\n");
});
