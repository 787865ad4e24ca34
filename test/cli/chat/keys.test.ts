import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Key, KeyReader } from "../../../src/cli/chat/keys.ts";

function keysOf(...pieces: readonly Uint8Array[]): readonly string[] {
  const reader = new KeyReader();
  return pieces.flatMap((piece) => reader.take(piece)).map(nameOf);
}

function nameOf(key: Key): string {
  return key.kind === "text" ? `"${key.text}"` : key.name;
}

test.each([
  ["hé✓\r", ['"hé✓"', "enter"]],
  ["a\u001b\rb\nc", ['"a"', "newline", '"b"', "newline", '"c"']],
  [
    "\u001b[A\u001bOB\u001b[C\u001b[D\u001b[H\u001b[F\u001b[3~",
    ["up", "down", "right", "left", "home", "end", "delete"],
  ],
  ["\u0003\u0004\u000f\u007f\u0017", ["ctrl-c", "ctrl-d", "ctrl-o", "backspace", "kill-word"]],
  ["\u001b[99~x\u001bqy\u0000z", ['"x"', '"y"', '"z"']],
  ["\u001b[200~two\r\nlines\u001b[31m\t!\u001b[201~\r", ['"two\nlines[31m  !"', "enter"]],
])("KeyReader makes keys of %j", (text, expected) => {
  expect(keysOf(Buffer.from(text))).toEqual(expected);
});

test("KeyReader makes the same keys however the bytes are cut", () => {
  const part = fc.constantFrom(
    "a",
    "é",
    "✓",
    "\r",
    "\u001b[A",
    "\u001b[1;5C",
    "\u0003",
    "\u001b[200~p\rq\u001b[201~",
  );
  const joined = (names: readonly string[]) => names.join("").replaceAll('""', "");
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      const bytes = Buffer.from(parts.join(""));
      expect(joined(keysOf(...[...bytes].map((byte) => Uint8Array.of(byte))))).toBe(joined(keysOf(bytes)));
    }),
  );
});
