import { expect, test } from "bun:test";
import { picture } from "../../scripts/picture.ts";

function lines(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*class="(\w+)">(.*)<\/text>/g)].map(
    ([, kind, words]) => `${kind}: ${words}`,
  );
}

test("picture() tells commands, headings and output apart", () => {
  expect(lines(picture("A heading\n$ a command\n  its output\n"))).toEqual([
    "heading: A heading",
    "command: $ a command",
    "output:   its output",
  ]);
});

test("picture() draws what would be markup as it was shown", () => {
  expect(lines(picture("  a <b> & c"))).toEqual(["output:   a &lt;b&gt; &amp; c"]);
});

test("picture() folds long lines and loses nothing of them", () => {
  const words = Array.from({ length: 60 }, (_, index) => `word-${index}`).join(" ");
  const drawn = lines(picture(`  ${words}`)).map((line) => line.replace(/^output: +/, ""));
  expect(drawn.length).toBeGreaterThan(3);
  expect(drawn.join(" ")).toBe(words);
  expect(Math.max(...drawn.map((line) => line.length))).toBeLessThanOrEqual(116);
});

test("picture() asks for nothing from elsewhere", () => {
  expect(picture("text")).not.toMatch(/href|url\(|@import|<script/);
});
