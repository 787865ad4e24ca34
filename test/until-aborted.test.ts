import { describe, expect, test } from "bun:test";
import { untilAborted } from "../src/until-aborted.ts";

describe("untilAborted()", () => {
  test("gives all values of a source that ends", async () => {
    const values = untilAborted(from([1, 2, 3]), new AbortController().signal);
    expect(await Array.fromAsync(values)).toEqual([1, 2, 3]);
  });

  test("ends while it waits for a value, and minds nothing that the source does after", async () => {
    const late = Promise.withResolvers<never>();
    async function* source() {
      yield 1;
      await late.promise;
    }
    const aborting = new AbortController();
    const seen: number[] = [];
    for await (const value of untilAborted(source(), aborting.signal)) {
      seen.push(value);
      queueMicrotask(() => aborting.abort());
    }
    expect(seen).toEqual([1]);
    late.reject(new Error("nobody is there to hear it"));
    await Promise.resolve();
  });

  test("gives nothing when it was aborted before", async () => {
    expect(await Array.fromAsync(untilAborted(from([1]), AbortSignal.abort()))).toEqual([]);
  });

  test("throws what the source throws", async () => {
    async function* source() {
      yield 1;
      throw new Error("broken");
    }
    const reading = Array.fromAsync(untilAborted(source(), new AbortController().signal));
    await expect(reading).rejects.toThrow("broken");
  });

  test("tells the source when its reader leaves", async () => {
    let left = false;
    async function* source() {
      try {
        for (;;) yield 1;
      } finally {
        left = true;
      }
    }
    for await (const _ of untilAborted(source(), new AbortController().signal)) break;
    expect(left).toBe(true);
  });
});

async function* from<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}
