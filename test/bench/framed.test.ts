import { expect, test } from "bun:test";
import { FrameCounter, framedBytes } from "../../bench/framed.ts";

test("FrameCounter counts messages however their bytes are cut", () => {
  const bytes = Buffer.concat([300, 0, 7, 70_000].map((size) => framedBytes(new Uint8Array(size))));
  for (const piece of [1, 3, 305, 311, bytes.length]) {
    const counter = new FrameCounter();
    let count = 0;
    for (let at = 0; at < bytes.length; at += piece) count += counter.take(bytes.subarray(at, at + piece));
    expect(count).toBe(4);
    expect(counter.take(bytes.subarray(0, 304))).toBe(0);
    expect(counter.take(bytes.subarray(304, 306))).toBe(1);
  }
});
