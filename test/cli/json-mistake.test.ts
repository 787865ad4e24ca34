import { expect, test } from "bun:test";
import fc from "fast-check";
import { jsonMistake } from "../../src/cli/json-mistake.ts";

test.each([
  ['{"a": 1}', undefined],
  [' [1, -2.5e3, true, null, "\\u00e9\\n", {}, []] ', undefined],
  ["{a: 1}", 'at character 2, near "a: 1}"'],
  ['{"a": 1, }', 'at character 10, near "}"'],
  ['{"a" 1}', 'at character 6, near "1}"'],
  ["{'a': 1}", `at character 2, near "'a': 1}"`],
  ['{"a": 01}', 'at character 8, near "1}"'],
  ["[1 2]", 'at character 4, near "2]"'],
  ["[1}", 'at character 3, near "}"'],
  ["{} {}", 'at character 4, near "{}"'],
  ['{"a": {"b": [1', "at its end, where something is missing"],
  ["", "at its end, where something is missing"],
  ['{"a": tru, "and so on": "for quite a while"}', 'at character 7, near "tru, "and so on": "for q…"'],
])("jsonMistake() finds the place in %j", (text, expected) => {
  expect(jsonMistake(text)).toBe(expected);
});

test("jsonMistake() finds none where JSON.parse() finds none, and one where it does", () => {
  const pieces = fc.array(
    fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"a"',
      "1",
      "-0",
      "1e5",
      "01",
      "true",
      "nul",
      " ",
      "\n",
      '"\\x"',
      '"',
    ),
    { maxLength: 12 },
  );
  const texts = fc.oneof(
    fc.json(),
    fc.string(),
    pieces.map((some) => some.join("")),
    fc.tuple(fc.json(), fc.nat()).map(([json, at]) => json.slice(0, at % (json.length + 1))),
  );
  fc.assert(
    fc.property(texts, (text) => {
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      expect(jsonMistake(text) === undefined).toBe(isJson);
    }),
    { numRuns: 2000 },
  );
});
