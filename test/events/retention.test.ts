import { expect, test } from "bun:test";
import { EventLog } from "../../src/events/log.ts";
import { type EventRetention, trimLog } from "../../src/events/retention.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { changed } from "../../src/store/store.ts";
import { tempFolder } from "../temp-folder.ts";

test("trimLog() keeps the newest events by age and by count, whichever keeps fewer", async () => {
  const cases: readonly (readonly [EventRetention, number])[] = [
    [{ maxAgeMs: 0, maxCount: 1_000_000 }, 5_000],
    [{ maxAgeMs: 0, maxCount: 4_000 }, 4_000],
    [{ maxAgeMs: 0, maxCount: 1 }, 1],
    [{ maxAgeMs: 100, maxCount: 1_000_000 }, 101], // those at 4,900 to 5,000
    [{ maxAgeMs: 100, maxCount: 50 }, 50],
    [{ maxAgeMs: 1_000_000, maxCount: 4_999 }, 4_999],
  ];
  for (const [retention, kept] of cases) {
    await using parts = await logOf(5_000);
    await parts.trim(retention, 5_000);
    expect([retention, parts.kept()]).toEqual([retention, kept]);
  }
});

test("trimLog() keeps the newest event however old it is", async () => {
  await using parts = await logOf(10);
  await parts.trim({ maxAgeMs: 1, maxCount: 1_000 }, 1_000_000);
  expect(parts.kept()).toBe(1);
});

test("trimLog() stops between its steps when told to", async () => {
  await using parts = await logOf(5_000);
  await parts.trim({ maxAgeMs: 0, maxCount: 1 }, 0, AbortSignal.abort());
  expect(parts.kept()).toBe(5_000);
});

/** A log of events at the times 1 to `count`. */
async function logOf(count: number) {
  const folder = await tempFolder();
  const store = new SqliteStore(folder.file("log.db"));
  const log = new EventLog(store.events, { clock: () => 0, memoryCount: 64 });
  const events = Array.from({ length: count }, (_, index) => ({
    type: "system_startup" as const,
    source: "test",
    at: index + 1,
  }));
  await store.change({}, () => changed(undefined, [], events));
  return {
    kept: () => store.events.tail - store.events.head + 1,
    trim: (retention: EventRetention, now: number, signal = new AbortController().signal) =>
      trimLog(log, { retention, now, signal, trim: (before, limits) => store.trimEvents(before, limits) }),
    [Symbol.asyncDispose]: async () => {
      log[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
