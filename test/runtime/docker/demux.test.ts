import { expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "../../../src/failure.ts";
import { demux } from "../../../src/runtime/docker/demux.ts";
import type { OutputChunk } from "../../../src/runtime/runtime.ts";

const broken = (why: string): Failure => new Failure("unavailable", why);

interface Frame {
  readonly stream: number;
  readonly data: Uint8Array;
}

test("demux() gives the bytes of both streams in order however they are cut", async () => {
  const frame = fc.record({ stream: fc.constantFrom(0, 1, 2), data: fc.uint8Array({ maxLength: 40 }) });
  const cuts = fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(frame), cuts, async (frames, sizes) => {
      const chunks = await read(pieces(encode(frames), sizes), false);
      expect(runs(chunks)).toEqual(runs(frames.map(chunkOf)));
    }),
  );
});

test("demux() with whole frames gives one chunk a frame however they are cut", async () => {
  const frame = fc.record({
    stream: fc.constantFrom(1, 2),
    data: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  });
  const cuts = fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(frame), cuts, async (frames, sizes) => {
      const chunks = await read(pieces(encode(frames), sizes), true);
      expect(chunks.map(plain)).toEqual(frames.map(chunkOf).map(plain));
    }),
  );
});

test("demux() fails on a stream that is not made of frames, and never passes its bytes on", async () => {
  expect(read([Buffer.from("hello there")], false)).rejects.toThrow("not made of frames");
  expect(read([Uint8Array.of(1, 0, 0, 0, 0, 0)], false)).rejects.toThrow("middle of a frame");
  expect(read([Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 9, 65)], false)).rejects.toThrow("middle of a frame");
});

test("demux() fails with the engine's words when it sends an error", async () => {
  const words = encode([{ stream: 3, data: Buffer.from("the log is gone\n") }]);
  expect(read(pieces(words, [3]), false)).rejects.toThrow("the log is gone");
});

test("demux() reads no further than its reader, and leaves the source when it is left", async () => {
  let given = 0;
  let left = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        given++;
        yield encode([{ stream: 1, data: Buffer.from("x") }]);
      }
    } finally {
      left = true;
    }
  }
  let taken = 0;
  for await (const _ of demux(source(), { wholeFrames: false, broken })) {
    taken++;
    expect(given).toBe(taken);
    if (taken === 5) break;
  }
  expect(left).toBe(true);
});

async function read(source: Iterable<Uint8Array>, wholeFrames: boolean): Promise<OutputChunk[]> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield* source;
  }
  return await Array.fromAsync(demux(bytes(), { wholeFrames, broken }));
}

function encode(frames: readonly Frame[]): Uint8Array {
  return Buffer.concat(
    frames.flatMap(({ stream, data }) => {
      const header = Buffer.alloc(8);
      header[0] = stream;
      header.writeUInt32BE(data.length, 4);
      return [header, data];
    }),
  );
}

function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

function chunkOf({ stream, data }: Frame): OutputChunk {
  return { stream: stream === 2 ? "stderr" : "stdout", data };
}

function plain({ stream, data }: OutputChunk): readonly [string, string] {
  return [stream, Buffer.from(data).toString("hex")];
}

/** Neighbours of one stream joined, and nothing where there is nothing. */
function runs(chunks: readonly OutputChunk[]): readonly (readonly [string, string])[] {
  const joined: [string, string][] = [];
  for (const [stream, hex] of chunks.map(plain)) {
    const last = joined.at(-1);
    if (hex === "") continue;
    if (last?.[0] === stream) last[1] += hex;
    else joined.push([stream, hex]);
  }
  return joined;
}
