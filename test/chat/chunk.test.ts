import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AnswerReader, type Chunk } from "../../src/chat/answer-reader.ts";
import { chunkEnd } from "../../src/chat/chunk.ts";
import { LiveTurn } from "../../src/chat/live-turn.ts";
import type { EndedTurn } from "../../src/chat/turn.ts";
import type { SessionId } from "../../src/sessions/session.ts";

/** Texts of characters of one to four bytes. */
const text = fc.string({ unit: "grapheme", maxLength: 60 }).map((some) => some.toWellFormed());

const answered: EndedTurn = {
  sessionId: "s" as SessionId,
  messageId: "m",
  askedAt: 1,
  startedAt: 2,
  endedAt: 3,
  attempt: 1,
  end: { kind: "answered", answerId: "r" },
};

function liveTurn(): LiveTurn {
  return new LiveTurn({ sessionId: "s" as SessionId, messageId: "m", askedAt: 1 });
}

function readAll(reader: AnswerReader): readonly Chunk[] {
  const chunks: Chunk[] = [];
  for (let next = reader.next(); next !== "over"; next = reader.next()) {
    if (next === "wait") throw new Error("it waits for more of an answer that is whole");
    chunks.push(next);
  }
  return chunks;
}

describe("chunkEnd()", () => {
  test("never cuts a character, and lets one that is larger go alone", () => {
    expect(chunkEnd("aé€😀b", { from: 0, maxBytes: 1 })).toEqual({ end: 1, bytes: 1 });
    expect(chunkEnd("aé€😀b", { from: 1, maxBytes: 1 })).toEqual({ end: 2, bytes: 2 });
    expect(chunkEnd("aé€😀b", { from: 3, maxBytes: 1 })).toEqual({ end: 5, bytes: 4 });
    expect(chunkEnd("aé€😀b", { from: 3, maxBytes: 5 })).toEqual({ end: 6, bytes: 5 });
    expect(chunkEnd("aé€😀b", { from: 0, maxBytes: 0 })).toEqual({ end: 6, bytes: 11 });
  });

  test("cuts any text into well-formed pieces that make it, each as large as it may be", () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 20 }), (whole, maxBytes) => {
        const pieces: string[] = [];
        for (let from = 0; from < whole.length; ) {
          const { end, bytes } = chunkEnd(whole, { from, maxBytes });
          const piece = whole.slice(from, end);
          expect(piece.isWellFormed()).toBe(true);
          expect(Buffer.byteLength(piece)).toBe(bytes);
          if (bytes > maxBytes) expect([...piece]).toHaveLength(1);
          const [next = ""] = whole.slice(end);
          if (next !== "" && bytes < maxBytes)
            expect(
              bytes + Buffer.byteLength(String.fromCodePoint(whole.codePointAt(end) ?? 0)),
            ).toBeGreaterThan(maxBytes);
          pieces.push(piece);
          from = end;
        }
        expect(pieces.join("")).toBe(whole);
      }),
    );
  });
});

describe("AnswerReader", () => {
  test("gives the same text whenever it is read and however it is cut, with one last chunk", () => {
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 8 }),
        fc.nat(12),
        fc.constantFrom("made" as const, "whole" as const),
        (pieces, maxBytes, when) => {
          const turn = liveTurn();
          const early = new AnswerReader(turn, { maxBytes, when });
          const got: Chunk[] = [];
          const read = () => {
            for (let next = early.next(); next !== "wait" && next !== "over"; next = early.next())
              got.push(next);
          };
          for (const piece of pieces.slice(0, -1)) {
            turn.add(piece, Buffer.byteLength(piece));
            read();
          }
          turn.end(answered, pieces.at(-1) ?? "");
          read();
          for (const chunks of [got, readAll(new AnswerReader(turn, { maxBytes, when }))]) {
            expect(chunks.map((chunk) => chunk.text).join("")).toBe(pieces.join(""));
            expect(chunks.map(({ sequence }) => sequence)).toEqual(chunks.map((_, index) => index));
            expect(chunks.filter(({ place }) => place === "last")).toEqual(chunks.slice(-1));
            expect(chunks.at(-1)?.totalBytes).toBe(Buffer.byteLength(pieces.join("")));
          }
          expect(early.bytes).toBe(turn.bytes);
          expect(early.chunks).toBe(got.length);
        },
      ),
    );
  });

  test("gives what is there of an answer that has failed, without a last chunk, and no more of a cancelled one", () => {
    const failed = { ...answered, end: { kind: "failed", reason: "ASSISTANT_LOST", words: "gone" } } as const;
    const cancelled = { ...answered, end: { kind: "cancelled", words: "enough" } } as const;
    for (const [over, count] of [
      [failed, 1],
      [cancelled, 0],
    ] as const) {
      const turn = liveTurn();
      turn.add("half", 4);
      turn.end(over);
      const chunks = readAll(new AnswerReader(turn, { maxBytes: 0, when: "made" }));
      expect(chunks.filter(({ place }) => place === "middle")).toHaveLength(count);
      expect(chunks).toHaveLength(count);
    }
  });
});
