import { expect, test } from "bun:test";
import { Captured } from "../../src/worker/captured.ts";
import { OutputFrames } from "../../src/worker/output-frames.ts";
import { SentOutput } from "../../src/worker/sent-output.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("OutputFrames.take() never cuts a character, wherever the pieces were cut", () => {
  const text = "aé€😀z";
  const whole = bytes(text);
  for (let cut = 0; cut <= whole.length; cut += 1) {
    const frames = new OutputFrames();
    const got = [
      ...frames.take(whole.subarray(0, cut)),
      ...frames.take(whole.subarray(cut)),
      ...frames.rest(),
    ];
    const strict = new TextDecoder("utf-8", { fatal: true });
    expect(got.map((frame) => strict.decode(frame)).join("")).toBe(text);
  }
});

test("OutputFrames.take() passes on bytes that are no text, and holds back three at most", () => {
  const frames = new OutputFrames();
  const binary = Uint8Array.from({ length: 1000 }, (_, n) => (n * 7) % 256);
  const got = [...frames.take(binary), ...frames.rest()];
  expect(Buffer.concat(got)).toEqual(Buffer.from(binary));
  expect(Buffer.concat(frames.take(new Uint8Array([0xf0, 0x9f, 0x98]))).byteLength).toBe(0);
  expect(frames.rest()).toEqual([new Uint8Array([0xf0, 0x9f, 0x98])]);
});

test("OutputFrames.take() cuts what is larger than a frame", () => {
  const sizes = new OutputFrames().take(new Uint8Array(2.5 * 1024 * 1024)).map((frame) => frame.byteLength);
  expect(sizes).toEqual([1024 * 1024, 1024 * 1024, 512 * 1024]);
});

test("SentOutput.behind() gives what was sent behind a place, cutting the piece that the place is in", () => {
  const sent = new SentOutput();
  sent.add({ data: bytes("abc"), streamType: "stdout" });
  sent.add({ data: bytes("def"), streamType: "stderr" });
  const texts = (got: number) =>
    sent.behind(got).map(({ data, streamType }) => `${streamType} ${new TextDecoder().decode(data)}`);
  expect(texts(0)).toEqual(["stdout abc", "stderr def"]);
  expect(texts(2)).toEqual(["stdout c", "stderr def"]);
  expect(texts(3)).toEqual(["stderr def"]);
  expect(texts(6)).toEqual([]);
});

test("SentOutput.behind() gives the newest that is kept when more is missing", () => {
  const sent = new SentOutput();
  for (let n = 0; n < 10; n += 1)
    sent.add({ data: new Uint8Array(1024 * 1024).fill(n), streamType: "stdout" });
  expect(sent.behind(0).map(({ data }) => data[0])).toEqual([6, 7, 8, 9]);
});

test("Captured keeps the beginning, says that it was cut, and gives text without half a character", () => {
  const captured = new Captured();
  captured.add(bytes("é".repeat(40_000)));
  captured.add(bytes("more"));
  expect(captured.isCut).toBe(true);
  expect(captured.text()).toBe("é".repeat(32_768));
  const binary = new Captured();
  binary.add(new Uint8Array([0xff, 0xfe]));
  expect(binary.text()).toBeUndefined();
  expect(binary.bytes()).toHaveLength(2);
});
