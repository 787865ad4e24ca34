import { describe, expect, test } from "bun:test";
import {
  type ExecRing,
  ExecRings,
  type Piece,
  smallestRing,
} from "../../../src/containers/execs/exec-ring.ts";

const KIB = 1_024;

describe("ExecRing", () => {
  test("read() gives back what was appended, byte for byte, from every place that is kept", () => {
    const ring = new ExecRings({ maxBytes: 8 * KIB, totalBytes: 1024 * KIB }).open();
    const random = pseudoRandom();
    let bytes = Buffer.alloc(0);
    let streams = "";
    for (let step = 0; step < 300; step += 1) {
      const stream = random(2) === 0 ? "stdout" : "stderr";
      const data = Uint8Array.from({ length: random(step % 50 === 0 ? 20_000 : 700) }, () => random(256));
      ring.append(stream, data);
      bytes = Buffer.concat([bytes, data]);
      streams += stream.charAt(3).repeat(data.length);
      expect(ring.total).toBe(bytes.length);
      expect(ring.total - ring.oldest).toBeLessThanOrEqual(8 * KIB);
      for (const from of [ring.oldest, ring.oldest + random(ring.total - ring.oldest + 1)]) {
        const read = readAll(ring, from);
        expect(read.bytes.equals(bytes.subarray(from))).toBe(true);
        expect(read.streams === streams.slice(from)).toBe(true);
      }
    }
    // More than half of it is kept although the outputs take turns all the time.
    expect(ring.total - ring.oldest).toBeGreaterThan(4 * KIB);
  });

  test("read() is undefined at the end, and gives at most 64 KiB of one output", () => {
    const ring = new ExecRings({ maxBytes: 256 * KIB, totalBytes: 1024 * KIB }).open();
    expect(ring.read(0)).toBeUndefined();
    ring.append("stdout", new Uint8Array(100 * KIB));
    ring.append("stderr", Uint8Array.of(1));
    expect(ring.read(0)).toMatchObject({ stream: "stdout", offset: 0, data: { length: 64 * KIB } });
    expect(ring.read(64 * KIB)).toMatchObject({ offset: 64 * KIB, data: { length: 36 * KIB } });
    expect(ring.read(100 * KIB)).toMatchObject({ stream: "stderr", offset: 100 * KIB });
    expect(ring.read(100 * KIB + 1)).toBeUndefined();
  });

  test("append() of one byte by turns keeps a bounded number of turns", () => {
    const ring = new ExecRings({ maxBytes: 64 * KIB, totalBytes: 1024 * KIB }).open();
    for (let n = 0; n < 200_000; n += 1)
      ring.append(n % 2 === 0 ? "stdout" : "stderr", Uint8Array.of(n % 256));
    const kept = readAll(ring, ring.oldest);
    expect(kept.bytes).toHaveLength(KIB);
    expect(kept.bytes.at(-1)).toBe(199_999 % 256);
  });

  test("what was read stays as it is when the ring goes on", () => {
    const ring = new ExecRings({ maxBytes: 4 * KIB, totalBytes: 1024 * KIB }).open();
    ring.append("stdout", new Uint8Array(4 * KIB).fill(1));
    const piece = ring.read(0);
    ring.append("stdout", new Uint8Array(4 * KIB).fill(2));
    expect(piece?.data.every((byte) => byte === 1)).toBe(true);
    expect(ring.oldest).toBe(4 * KIB);
  });
});

describe("ExecRings", () => {
  test("takes no memory for a command that writes nothing, and little for one that writes little", () => {
    const rings = new ExecRings({ maxBytes: 1024 * KIB, totalBytes: 4096 * KIB });
    const ring = rings.open();
    expect(rings.taken).toBe(0);
    ring.append("stdout", new Uint8Array(100));
    expect(rings.taken).toBe(smallestRing);
  });

  test("lets those that have ended longest make room, then keeps less, and never less than the smallest ring", () => {
    const rings = new ExecRings({ maxBytes: 64 * KIB, totalBytes: 128 * KIB });
    const [first, second, third, fourth] = Array.from({ length: 4 }, () => rings.open());
    if (!first || !second || !third || !fourth) throw new Error("there are four");
    for (const ring of [first, second]) ring.append("stdout", new Uint8Array(64 * KIB));
    rings.ended(second);
    rings.ended(first);
    third.append("stdout", new Uint8Array(64 * KIB));
    expect([first, second, third].map(({ oldest, total }) => total - oldest)).toEqual([
      64 * KIB,
      0,
      64 * KIB,
    ]);
    expect(second.read(64 * KIB)).toBeUndefined();
    rings.drop(first);
    const fifth = rings.open();
    fifth.append("stdout", new Uint8Array(64 * KIB));
    fourth.append("stdout", new Uint8Array(64 * KIB));
    expect(fourth.total - fourth.oldest).toBe(smallestRing);
    expect(rings.taken).toBe(128 * KIB + smallestRing);
    for (const ring of [second, third, fourth, fifth]) rings.drop(ring);
    expect(rings.taken).toBe(0);
  });
});

function readAll(ring: ExecRing, from: number): { readonly bytes: Buffer; readonly streams: string } {
  const pieces: Piece[] = [];
  for (let at = from; ; ) {
    const piece = ring.read(at);
    if (piece === undefined) break;
    expect(piece.offset).toBe(at);
    pieces.push(piece);
    at += piece.data.length;
  }
  return {
    bytes: Buffer.concat(pieces.map(({ data }) => data)),
    streams: pieces.map(({ stream, data }) => stream.charAt(3).repeat(data.length)).join(""),
  };
}

/** The same numbers each time. */
function pseudoRandom(): (below: number) => number {
  let state = 12_345;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % Math.max(1, below);
  };
}
