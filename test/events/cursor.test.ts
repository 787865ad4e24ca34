import { expect, test } from "bun:test";
import { cursorOf, positionOf } from "../../src/events/cursor.ts";
import type { EventStorage } from "../../src/events/storage.ts";

const storage: EventStorage = {
  epoch: "abc123",
  tail: 100,
  head: 11,
  read: async () => ({ events: [], scannedTo: 100 }),
  positionBefore: async () => 0,
  positionKeeping: async () => 0,
  onAppend: () => () => {},
};
const position = (cursor: string) => positionOf(cursor, { field: "resume_after", storage });

test("positionOf() reads what cursorOf() has written, from the oldest kept event to the newest", () => {
  for (const at of [10, 11, 50, 100]) expect(position(cursorOf("abc123", at))).toBe(at);
});

test("positionOf() says why a cursor can't be resumed from, and from where one can", () => {
  const metadata = { oldest_cursor: "abc123-10", newest_cursor: "abc123-100" };
  const cases = [
    ["abc123-9", "CURSOR_TOO_OLD"],
    ["abc123-0", "CURSOR_TOO_OLD"],
    ["abc123-101", "CURSOR_AHEAD"],
    ["abc123-999999999999999", "CURSOR_AHEAD"],
    ["def456-50", "CURSOR_OTHER_LOG"],
  ] as const;
  for (const [cursor, reason] of cases) {
    expect([cursor, failureOf(cursor)]).toMatchObject([
      cursor,
      { kind: "out_of_range", details: { reason, metadata } },
    ]);
  }
});

test("positionOf() refuses what is no cursor, naming the field", () => {
  const texts = [
    "",
    "-",
    "5",
    "abc123",
    "abc123-",
    "-5",
    "abc123-x",
    "abc123--5",
    "abc123-5 ",
    "ABC-5",
    "abc123-1e3",
    "abc123-9999999999999999",
    "abc123-5\n",
  ];
  for (const text of texts) {
    expect([text, failureOf(text)]).toMatchObject([
      text,
      { kind: "invalid_argument", details: { violations: [{ field: "resume_after" }] } },
    ]);
  }
});

function failureOf(cursor: string): unknown {
  try {
    return position(cursor);
  } catch (error) {
    return error;
  }
}
