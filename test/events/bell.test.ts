import { expect, test } from "bun:test";
import { Bell } from "../../src/events/bell.ts";

test("wait() returns when it rings", async () => {
  const bell = new Bell();
  const waiting = bell.wait();
  bell.ring();
  await waiting;
});

test("wait() returns at once when it has rung since the last wait, however often", async () => {
  const bell = new Bell();
  bell.ring();
  bell.ring();
  await bell.wait();
  let woken = false;
  const second = bell.wait().then(() => {
    woken = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(woken).toBe(false);
  bell.ring();
  await second;
});

test("wait() returns after its time, and the ring after that is the next one's", async () => {
  const bell = new Bell();
  await bell.wait(1);
  bell.ring();
  await bell.wait();
});
