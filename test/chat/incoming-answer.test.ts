import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { IncomingAnswer } from "../../src/chat/incoming-answer.ts";

function answer(maxBytes = 1_000, maxParts = 10): IncomingAnswer {
  return new IncomingAnswer({ maxBytes, maxParts });
}

function frame(text: string | Uint8Array, headers: Record<string, string> = {}, contentType = "text/plain") {
  return { kind: "data", contentType, data: Buffer.from(text), headers } as const;
}

describe("IncomingAnswer.take()", () => {
  test("takes one frame without headers for the whole answer", () => {
    expect(answer().take(frame("Hello!"))).toEqual({ kind: "whole", text: "Hello!", bytes: 6, about: {} });
  });

  test("puts parts together wherever a character is cut", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.array(fc.nat(40), { maxLength: 8 }), (some, cuts) => {
        const text = some.toWellFormed();
        const bytes = Buffer.from(text);
        const at = [...new Set(cuts.map((cut) => Math.min(cut, bytes.length)))].toSorted(
          (one, two) => one - two,
        );
        const parts = [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
        const incoming = answer();
        let got = "";
        for (const [index, part] of parts.entries()) {
          const final = index === parts.length - 1 ? { final: "true" } : {};
          const arrival = incoming.take(frame(part, { part: String(index), ...final }));
          if (arrival.kind !== "piece" && arrival.kind !== "whole") throw new Error(`it is ${arrival.kind}`);
          got += arrival.text;
        }
        expect(got).toBe(text);
      }),
    );
  });

  test("keeps what the last frame says of the answer", () => {
    const headers = { part: "0", final: "true", model: "m-1", tokens_used: "7", other: "x" };
    expect(answer().take(frame("", headers))).toEqual({
      kind: "whole",
      text: "",
      bytes: 0,
      about: { model: "m-1", tokens_used: "7" },
    });
  });

  test("takes nothing that comes twice, too early, late, or makes no sense, and goes on", () => {
    const incoming = answer();
    const odd = (...given: Parameters<typeof frame>) =>
      expect(incoming.take(frame(...given)).kind).toBe("odd");
    odd("b", { part: "1" });
    expect(incoming.hasBegun).toBe(false);
    expect(incoming.take(frame("a", { part: "0" })).kind).toBe("piece");
    odd("a", { part: "0" });
    odd("a", { part: "-1" });
    odd("a", { part: "1", final: "yes" });
    odd("whole", {});
    odd("a", { part: "1" }, "image/png");
    expect(incoming.take(frame("b", { part: "1", final: "true" }))).toMatchObject({
      kind: "whole",
      text: "b",
    });
    odd("c", { part: "2" });
  });

  test("shows bytes that are no text as U+FFFD", () => {
    expect(answer().take(frame(new Uint8Array([0x61, 0xff, 0xe2, 0x82])))).toMatchObject({
      text: "a\ufffd\ufffd",
    });
  });

  test("refuses an answer that is too large, or comes in too many parts", () => {
    expect(answer(3).take(frame("four")).kind).toBe("refused");
    expect(answer(3).take(frame(new Uint8Array([0xff]))).kind).toBe("whole");
    expect(answer(3).take(frame(new Uint8Array([0xff, 0xff]))).kind).toBe("refused");
    const cut = answer(2);
    expect(cut.take(frame(new Uint8Array([0xe2, 0x82]), { part: "0" })).kind).toBe("piece");
    expect(cut.take(frame("", { part: "1", final: "true" })).kind).toBe("refused");
    const incoming = answer(1_000, 2);
    for (const part of ["0", "1"]) incoming.take(frame("a", { part }));
    expect(incoming.take(frame("a", { part: "2" })).kind).toBe("refused");
  });
});
