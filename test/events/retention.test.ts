import { expect, test } from "bun:test";
import { type EventRetention, trimLog } from "../../src/events/retention.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { changed } from "../../src/store/store.ts";
import { tempFolder } from "../temp-folder.ts";

const everything: EventRetention = { maxAgeMs: 0, maxCount: 1_000_000, maxBytes: 1e12 };

test("trimLog() keeps the newest events by age, by count and by size, whichever keeps fewest", async () => {
  const cases: readonly (readonly [Partial<EventRetention>, number])[] = [
    [{}, 5_000],
    [{ maxCount: 4_000 }, 4_000],
    [{ maxCount: 1 }, 1],
    [{ maxAgeMs: 100 }, 101], // those at 4,900 to 5,000
    [{ maxAgeMs: 100, maxCount: 50 }, 50],
    [{ maxAgeMs: 1_000_000, maxCount: 4_999 }, 4_999],
    [{ maxBytes: eventBytes * 400 }, 400],
    [{ maxBytes: eventBytes * 400 - 1 }, 399],
    [{ maxBytes: eventBytes * 400, maxCount: 100 }, 100],
    [{ maxBytes: eventBytes * 400, maxAgeMs: 10 }, 11],
    [{ maxBytes: 1 }, 1],
  ];
  for (const [retention, kept] of cases) {
    await using parts = await logOf(5_000);
    await parts.trim({ ...everything, ...retention }, 5_000);
    expect([retention, parts.kept()]).toEqual([retention, kept]);
  }
}, 30_000);

test("trimLog() keeps the newest event however old or large it is", async () => {
  for (const retention of [{ maxAgeMs: 1 }, { maxBytes: 1 }]) {
    await using parts = await logOf(10);
    await parts.trim({ ...everything, ...retention }, 1_000_000);
    expect(parts.kept()).toBe(1);
  }
});

test("trimLog() stops between its steps when told to", async () => {
  await using parts = await logOf(5_000);
  await parts.trim({ ...everything, maxCount: 1 }, 0, AbortSignal.abort());
  expect(parts.kept()).toBe(5_000);
});

/** What each event of `logOf` takes: all of its numbers have four digits. */
const eventBytes = Buffer.byteLength(
  JSON.stringify({
    type: "system_startup",
    source: "test",
    at: 1_000,
    position: 1_000,
    id: crypto.randomUUID(),
  }) + JSON.stringify({ a: "é" }),
);

/** A log of events at the times 1 to `count`. */
async function logOf(count: number) {
  const folder = await tempFolder();
  const store = new SqliteStore(folder.file("log.db"));
  const events = Array.from({ length: count }, (_, index) => ({
    type: "system_startup" as const,
    source: "test",
    at: index + 1,
    labels: { a: "é" },
  }));
  await store.change({}, () => changed(undefined, [], events));
  return {
    kept: () => store.events.tail - store.events.head + 1,
    trim: (retention: EventRetention, now: number, signal = new AbortController().signal) =>
      trimLog(store.events, {
        retention,
        now,
        signal,
        trim: (before, limits) => store.trimEvents(before, limits),
      }),
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
