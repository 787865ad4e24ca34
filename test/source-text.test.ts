// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts below are sources
import { expect, test } from "bun:test";
import { sourceText } from "./source-text.ts";

test("sourceText() keeps code and drops comments, texts and regular expressions, line by line", () => {
  const source = [
    'const a = "x as y // no"; // a comment as such',
    "/* two",
    "   lines */ const b = `as ${a as string} as ${`in ${b}`}`;",
    "const c = /[/\"'] as \\/ x/.test(a) ? 4 / 2 / 1 : 'it\\'s as';",
  ].join("\n");
  const { code, commented } = sourceText(source);
  expect(code).toEqual([
    'const a = ""; ',
    "",
    " const b = `${a as string}${`${b}`}`;",
    "const c = .test(a) ? 4 / 2 / 1 : '';",
  ]);
  expect(commented).toEqual([true, true, true, false]);
});
