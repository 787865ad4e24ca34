import { expect, test } from "bun:test";
import { FrameQueue } from "../../src/client/frame-queue.ts";

test("FrameQueue gives its frames in order, also those pushed before it is read", async () => {
  const queue = new FrameQueue<number>();
  void queue.push(1);
  void queue.push(2);
  const frames = queue[Symbol.asyncIterator]();
  expect(await frames.next()).toEqual({ done: false, value: 1 });
  expect(await frames.next()).toEqual({ done: false, value: 2 });
  const third = frames.next();
  void queue.push(3);
  expect(await third).toEqual({ done: false, value: 3 });
});

test("FrameQueue.push() waits until its frame is taken", async () => {
  const queue = new FrameQueue<string>();
  let taken = false;
  const pushed = queue.push("a").then(() => {
    taken = true;
  });
  await Promise.resolve();
  expect(taken).toBeFalse();
  const frames = queue[Symbol.asyncIterator]();
  await frames.next();
  await pushed;
  expect(taken).toBeTrue();
});

test("FrameQueue.close() ends reading and lets go of whoever waits", async () => {
  const queue = new FrameQueue<string>();
  const frames = queue[Symbol.asyncIterator]();
  const next = frames.next();
  const pushed = [queue.push("a"), queue.push("b")];
  expect(await next).toEqual({ done: false, value: "a" });
  queue.close();
  await Promise.all(pushed);
  await queue.push("c");
  expect(await frames.next()).toEqual({ done: true, value: undefined });
});
