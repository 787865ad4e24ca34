import { expect, test } from "bun:test";
import { backoffMs, pause } from "../../src/client/backoff.ts";
import { thrown } from "./thrown.ts";

test("backoffMs() doubles from 50 ms to the bound", () => {
  const pauses = [1, 2, 3, 4, 9, 1000].map((attempt) => backoffMs(attempt, { maxMs: 300, random: 1 }));
  expect(pauses).toEqual([50, 100, 200, 300, 300, 300]);
});

test("backoffMs() leaves between half and the whole to chance", () => {
  expect(backoffMs(3, { maxMs: 5000, random: 0 })).toBe(100);
  expect(backoffMs(3, { maxMs: 5000, random: 0.5 })).toBe(150);
});

test("pause() ends with its signal", async () => {
  const controller = new AbortController();
  const failure = thrown(() => pause(3_600_000, controller.signal));
  controller.abort();
  expect((await failure).kind).toBe("cancelled");
});
