import { describe, expect, test } from "bun:test";
import { type RestOptions, withRestOfLog } from "../src/rest-of-log.ts";
import type { OutputChunk } from "../src/runtime/runtime.ts";

const search: RestOptions = { doing: "follow the log", isFromStart: true, otherwise: "search" };
const lost = { kind: "data_loss", details: { reason: "OUTPUT_LOST" } };

describe("withRestOfLog()", () => {
  test("gives what the log has behind what was given, of each stream, wherever their pieces begin and end", async () => {
    const given = [out("one "), err("bad "), out("two")];
    const log = [out("one t"), err("bad news"), out("wo three"), out(" four")];
    expect(await both(given, log, search)).toEqual({ stdout: "one two three four", stderr: "bad news" });
  });

  test("tells bytes that are all the same apart by how many they are", async () => {
    expect(await both([out("x".repeat(700))], [out("x".repeat(1_000))], search)).toMatchObject({
      stdout: "x".repeat(1_000),
    });
  });

  test("gives nothing twice when all of it was given", async () => {
    expect(await both([out("one"), err("two")], [err("two"), out("one")], search)).toEqual({
      stdout: "one",
      stderr: "two",
    });
  });

  test("finds the place by what was given last when the log has dropped its beginning", async () => {
    const all = Array.from({ length: 40_000 }, (_, n) => `${n}\n`).join("");
    const early = err("long ago");
    const whole = { stdout: all, stderr: "long ago" };
    for (const kept of [150_000, 50_000, 20_000]) {
      const log = [out(all.slice(-kept))];
      expect(await both([early, out(all.slice(0, -10_000))], log, search)).toEqual(whole);
      expect(await both([early, out(all)], log, search)).toEqual(whole);
    }
  });

  test("goes by what was given last when that began in the middle, and by nothing when it was nothing", async () => {
    const tail: RestOptions = { ...search, isFromStart: false };
    const log = [out("1\n2\n3\n4\nend"), err("before")];
    expect(await both([out("3\n4\n")], log, tail)).toEqual({ stdout: "3\n4\nend", stderr: "" });
    const ticks = [out("tick\ntick\nbye")];
    expect(await both([out("tick\n")], ticks, tail)).toMatchObject({ stdout: "tick\nbye" });
  });

  test("is DATA_LOSS when the log has dropped what comes next, has more in front than was given, or is the same all over", async () => {
    expect(await both([out("one two")], [out("five six")], search)).toMatchObject(lost);
    expect(await both([out("one three")], [out("one two one three")], search)).toMatchObject(lost);
    const zeros = (bytes: number) => [out("\0".repeat(bytes))];
    expect(await both(zeros(300_000), zeros(200_000), search)).toMatchObject(lost);
  });

  test("is DATA_LOSS at once where a log that runs on does not begin with what was given", async () => {
    const fail: RestOptions = { ...search, otherwise: "fail" };
    async function* endless(): AsyncGenerator<OutputChunk> {
      for (;;) yield out("five six");
    }
    expect(await caught(withRestOfLog(from([out("one two")]), endless, fail))).toMatchObject(lost);
    expect(await both([out("one two")], [out("one")], fail)).toMatchObject(lost);
  });
});

async function both(given: readonly OutputChunk[], log: readonly OutputChunk[], options: RestOptions) {
  return await caught(withRestOfLog(from(given), () => from(log), options));
}

async function caught(chunks: AsyncIterable<OutputChunk>): Promise<unknown> {
  const texts = { stdout: "", stderr: "" };
  try {
    for await (const { stream, data } of chunks) texts[stream] += Buffer.from(data).toString();
    return texts;
  } catch (error) {
    return error;
  }
}

async function* from(chunks: readonly OutputChunk[]): AsyncGenerator<OutputChunk> {
  yield* chunks;
}

function out(words: string): OutputChunk {
  return { stream: "stdout", data: Buffer.from(words) };
}

function err(words: string): OutputChunk {
  return { stream: "stderr", data: Buffer.from(words) };
}
