import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LogEvent, NewEvent } from "../../src/events/event.ts";
import { type EventFilter, matches } from "../../src/events/filter.ts";
import { EventLog, type LogItem } from "../../src/events/log.ts";
import type { EventStorage } from "../../src/events/storage.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { changed, type Store } from "../../src/store/store.ts";
import { MemoryStore, memoryDisk } from "../store/memory-store.ts";
import { tempFolder } from "../temp-folder.ts";

/** More than these tests keep in memory. */
const memoryBytes = 1e9;

describe("follow()", () => {
  test("gives what is in memory, what is on disk, and what lies across the border of both", async () => {
    await using parts = await open({ memoryCount: 10 });
    await parts.append(...numbered(1, 100));
    for (const after of [0, 50, 79, 80, 81, 89, 90, 91, 99]) {
      const seen = await parts.take(100 - after, { after });
      expect(seen.map(({ position }) => position)).toEqual(range(after + 1, 100));
    }
  });

  test("goes on from the past to live without gap or repeat", async () => {
    await using parts = await open({ memoryCount: 10 });
    await parts.append(...numbered(1, 30));
    const reading = parts.take(60, { after: 0 });
    for (let at = 31; at <= 60; at += 1) await parts.append(...numbered(at, at));
    expect((await reading).map(({ data }) => data?.number)).toEqual(range(1, 60).map(String));
  });

  test("gives events from before a restart", async () => {
    await using folder = await tempFolder();
    const path = folder.file("log.db");
    await using before = new SqliteStore(path);
    await append(before, numbered(1, 300));
    await before[Symbol.asyncDispose]();
    await using store = new SqliteStore(path);
    using log = new EventLog(store.events, { clock: () => 0, memoryCount: 64, memoryBytes });
    await append(store, numbered(301, 310));
    expect((await taken(log, 310, {})).map(({ position }) => position)).toEqual(range(1, 310));
  });

  test("gives 10,000 events to readers of all filters and paces, each once and in order", async () => {
    await using parts = await open({ memoryCount: 200 });
    const filters: readonly EventFilter[] = [
      {},
      { types: ["message_created"] },
      { sessionId: "s3" },
      { labels: { parity: "odd" } },
      { source: "test", types: ["message_created", "session_updated"], labels: { parity: "even" } },
      { sessionId: "s999" }, // one in ten thousand
      { startTime: 2_000, endTime: 5_000 },
    ];
    const paces = [0, 1, 7, 100]; // pauses after so many events; 0: never
    const stop = new AbortController();
    const readers = filters.flatMap((filter) =>
      paces.map(async (pace) => {
        const seen: number[] = [];
        for await (const item of parts.log.follow({ after: 0, filter, signal: stop.signal })) {
          if (item.kind !== "event") continue;
          if (item.event.data?.number === "end") return { filter, seen };
          seen.push(item.event.position);
          if (pace > 0 && seen.length % pace === 0) await turn();
        }
        return { filter, seen };
      }),
    );
    const all: NewEvent[] = range(1, 10_000).map((number) => ({
      ...numbered(number, number)[0],
      type: number % 3 === 0 ? "message_created" : "session_updated",
      source: "test",
      at: number,
      sessionId: number === 9_999 ? "s999" : `s${number % 10}`,
      labels: { parity: number % 2 === 0 ? "even" : "odd" },
    }));
    for (let from = 0; from < all.length; from += 125) {
      await parts.append(...all.slice(from, from + 125));
    }
    // One end for each filter, since each has to match it.
    const end = { type: "message_created", source: "test", data: { number: "end" } } as const;
    await parts.append(
      { ...end, at: 4_999, labels: { parity: "even" }, sessionId: "s3" },
      { ...end, at: 4_999, labels: { parity: "odd" }, sessionId: "s999" },
    );
    const expected = await parts.store.events.read({ after: 0, filter: {}, limit: 10_000 });
    for (const { filter, seen } of await Promise.all(readers)) {
      const wanted = expected.events
        .filter((event) => matches(event, filter))
        .map(({ position }) => position);
      expect([filter, seen]).toEqual([filter, wanted]);
    }
    expect(parts.log.followers).toBe(0);
  }, 60_000);

  test("loses, repeats and swaps nothing, whatever appends, trims, slow reads and resumes come when (property)", async () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("append" as const),
          count: fc.integer({ min: 1, max: 30 }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("read" as const),
          reader: fc.nat(3),
          count: fc.integer({ min: 1, max: 40 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("resume" as const), reader: fc.nat(3) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("trim" as const), keep: fc.integer({ min: 1, max: 100 }) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        async (steps, memoryCount) => {
          await using store = new MemoryStore(memoryDisk());
          using log = new EventLog(store.events, { clock: () => 0, memoryCount, memoryBytes });
          const readers = Array.from(
            { length: 4 },
            (_, index) => new Reader(log, index % 2 === 0 ? {} : { labels: { parity: "odd" } }),
          );
          for (const each of steps) {
            if (each.kind === "append") await append(store, numbered(log.tail + 1, log.tail + each.count));
            else if (each.kind === "trim") await store.trimEvents(log.tail - each.keep, { limit: 1_000 });
            else if (each.kind === "resume") await readers[each.reader]?.resume();
            else await readers[each.reader]?.read(each.count, store);
          }
          for (const reader of readers) {
            await reader.read(Number.POSITIVE_INFINITY, store);
            await reader.stop();
            reader.check();
          }
          expect(log.followers).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  }, 60_000);

  test("ends at an end_time in the past after what lies before it", async () => {
    await using parts = await open({ now: 1_000 });
    await parts.append(...numbered(1, 20));
    const seen: number[] = [];
    for await (const item of parts.follow({ after: 0, filter: { startTime: 5, endTime: 9 } })) {
      if (item.kind === "event") seen.push(item.event.at);
    }
    expect(seen).toEqual([5, 6, 7, 8]);
    expect(parts.log.followers).toBe(0);
  });

  test("ends when an end_time in the future comes", async () => {
    await using parts = await open({ now: Date.now, memoryCount: 10 });
    const endTime = Date.now() + 50;
    const items = parts.follow({ after: 0, filter: { endTime } });
    await parts.append({ type: "system_startup", source: "test", at: endTime - 1 });
    await parts.append({ type: "system_startup", source: "test", at: endTime });
    const seen: number[] = [];
    for await (const item of items) if (item.kind === "event") seen.push(item.event.at);
    expect(seen).toEqual([endTime - 1]);
  });

  test("waits for a start_time in the future", async () => {
    await using parts = await open({ now: 0 });
    await parts.append(...numbered(1, 5));
    const after = await parts.log.positionAt({ kind: "time", time: 50 });
    expect(after).toBe(5);
    const reading = parts.take(1, { after, filter: { startTime: 50 } });
    await parts.append(...numbered(6, 60));
    expect((await reading)[0]?.at).toBe(50);
  });

  test("tells an idle reader by bookmarks how far it has come", async () => {
    await using parts = await open({ now: Date.now });
    await parts.append(...numbered(1, 7));
    const items = parts.follow({ after: 0, filter: { sessionId: "nobody" }, bookmarkEveryMs: 5 });
    const first = await items.next();
    expect(first.value).toMatchObject({ kind: "bookmark", position: 7 });
    await parts.append(...numbered(8, 9));
    const second = await items.next();
    expect(second.value).toMatchObject({ kind: "bookmark", position: 9 });
  });

  test("gives no bookmark while events come, and none to who wants none", async () => {
    let now = 0;
    await using parts = await open({ now: () => now });
    const items = parts.follow({ after: 0, filter: {}, bookmarkEveryMs: 1_000 });
    for (let number = 1; number <= 5; number += 1) {
      now += 900;
      await parts.append(...numbered(number, number));
      expect((await items.next()).value).toMatchObject({ kind: "event", event: { position: number } });
    }
  });

  test("ends at once by its signal, with the signal's reason, and leaves nothing behind", async () => {
    await using parts = await open({});
    const stop = new AbortController();
    const waiting = parts.log.follow({ after: 0, filter: {}, signal: stop.signal }).next();
    await turn();
    expect(parts.log.followers).toBe(1);
    stop.abort();
    expect(await waiting.catch((error: unknown) => error)).toMatchObject({ kind: "cancelled" });
    expect(parts.log.followers).toBe(0);
    const late = parts.log.follow({ after: 0, filter: {}, signal: stop.signal }).next();
    expect(await late.catch((error: unknown) => error)).toMatchObject({ kind: "cancelled" });
    expect(parts.log.followers).toBe(0);
  });

  test("stops in the middle of what it has read when its signal aborts", async () => {
    await using parts = await open({});
    await parts.append(...numbered(1, 100));
    const stop = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const item of parts.log.follow({ after: 0, filter: {}, signal: stop.signal })) {
        if (item.kind === "event") seen.push(item.event.position);
        if (seen.length === 3) stop.abort();
      }
    })();
    expect(await reading.catch((error: unknown) => error)).toMatchObject({ kind: "cancelled" });
    expect(seen).toEqual([1, 2, 3]);
  });

  test("leaves nothing behind when its reader leaves early", async () => {
    await using parts = await open({});
    await parts.append(...numbered(1, 10));
    for await (const item of parts.follow({ after: 0, filter: {} })) {
      expect(item.kind).toBe("event");
      break;
    }
    expect(parts.log.followers).toBe(0);
  });

  test("fails with CURSOR_TOO_OLD when retention overtakes its reader", async () => {
    await using parts = await open({ memoryCount: 10 });
    await parts.append(...numbered(1, 1_000));
    const items = parts.follow({ after: 0, filter: {} });
    const seen = [await items.next()];
    await parts.store.trimEvents(900, { limit: 10_000 });
    const failure = await (async () => {
      for (;;) seen.push(await items.next());
    })().catch((error: unknown) => error);
    const read = seen.map(({ value }) => (value?.kind === "event" ? value.event.position : 0));
    expect(read).toEqual(range(1, read.length)); // what it had read already still comes
    expect(failure).toMatchObject({
      kind: "out_of_range",
      details: {
        reason: "CURSOR_TOO_OLD",
        metadata: { oldest_cursor: parts.log.cursor(899), newest_cursor: parts.log.cursor(1_000) },
      },
    });
    expect(parts.log.followers).toBe(0);
  });

  test("fails with CURSOR_TOO_OLD when retention comes between a reader's turn and its read", async () => {
    await using parts = await open({ memoryCount: 1 });
    await parts.append(...numbered(1, 1_000));
    const first = parts.follow({ after: 0, filter: {} }).next();
    await parts.store.trimEvents(900, { limit: 10_000 }); // it has looked at the log, and reads a turn later
    expect(await first.catch((error: unknown) => error)).toMatchObject({
      details: { reason: "CURSOR_TOO_OLD" },
    });
  });

  test("tells by bookmarks also when the clock is set back", async () => {
    await using folder = await tempFolder();
    await using store = new SqliteStore(folder.file("log.db"));
    let now = 3_600_000;
    using log = new EventLog(store.events, { clock: () => now, memoryCount: 64, memoryBytes });
    const stop = new AbortController();
    const items = log.follow({ after: 0, filter: {}, signal: stop.signal, bookmarkEveryMs: 20 });
    const first = items.next();
    now = 0;
    expect((await first).value).toMatchObject({ kind: "bookmark" });
    stop.abort();
  });

  test("keeps large events in memory up to a number of bytes, and reads the others from disk", async () => {
    await using folder = await tempFolder();
    await using store = new SqliteStore(folder.file("log.db"));
    const reads: number[] = [];
    const storage = watched(store, ({ after }) => reads.push(after));
    using log = new EventLog(storage, { clock: () => 0, memoryCount: 1_000, memoryBytes: 1_000_000 });
    const large = { labels: { long: "x".repeat(10_000) } }; // 20 kB as memory counts
    for (const event of numbered(1, 200)) await append(store, [{ ...event, ...large }]);
    expect((await taken(log, 20, { after: 180 })).map(({ position }) => position)).toEqual(range(181, 200));
    expect(reads).toEqual([]);
    const all = await taken(log, 200, { after: 0 });
    expect(all.map(({ position }) => position)).toEqual(range(1, 200));
    // From disk while it is behind, a bounded part at a time, and from memory then.
    expect(reads.length).toBeGreaterThan(3);
    expect(reads.at(-1)).toBeLessThan(180);
    await append(store, [{ ...numbered(201, 201)[0], labels: { long: "x".repeat(2_000_000) } }]);
    expect((await taken(log, 1, { after: 200 }))[0]?.position).toBe(201);
    expect(reads.at(-1)).toBe(200); // one that is larger than all of memory
    await append(store, numbered(202, 202));
    expect((await taken(log, 1, { after: 201 }))[0]?.position).toBe(202);
    expect(reads.at(-1)).toBe(200);
  });

  test("holds no more than a part of what its reader has not asked for", async () => {
    await using parts = await open({ memoryCount: 1_000 });
    const items = parts.follow({ after: 0, filter: {} });
    const large = numbered(1, 200).map((event) => ({ ...event, labels: { long: "x".repeat(10_000) } }));
    await append(parts.store, large);
    await items.next();
    // What it holds still comes when retention has removed it; the rest does not.
    for (const event of numbered(1, 2_001)) await append(parts.store, [event]);
    await parts.store.trimEvents(2_000, { limit: 10_000 });
    let held = 0;
    const failure = await (async () => {
      for (;;) {
        await items.next();
        held += 1;
      }
    })().catch((error: unknown) => error);
    expect(failure).toMatchObject({ details: { reason: "CURSOR_TOO_OLD" } });
    expect(held).toBeLessThan(30);
  });

  test("lets others run while it looks through a long log for little", async () => {
    await using parts = await open({ memoryCount: 1 });
    await parts.append(...numbered(1, 100));
    const reads = countedReads(parts.store);
    const stop = new AbortController();
    using log = new EventLog(reads.storage, { clock: () => 0, memoryCount: 1, memoryBytes });
    const reading = log.follow({ after: 0, filter: { sessionId: "nobody" }, signal: stop.signal }).next();
    reading.catch(() => {}); // it is looked at below
    setImmediate(() => stop.abort());
    expect(await reading.catch((error: unknown) => error)).toMatchObject({ kind: "cancelled" });
    expect(reads.count()).toBeLessThan(100);
  });
});

/** A storage whose reads come forward by one position each, as if the log were very long. */
function countedReads(store: Store) {
  let reads = 0;
  const { events } = store;
  const storage = {
    epoch: events.epoch,
    tail: events.tail,
    head: events.head,
    read: async ({ after }: { readonly after: number }) => {
      reads += 1;
      return { events: [], scannedTo: after + 1 };
    },
    positionBefore: (time: number) => events.positionBefore(time),
    positionKeeping: (bytes: number) => events.positionKeeping(bytes),
    onAppend: () => () => {},
  };
  return { storage, count: () => reads };
}

/** The storage of a store, that tells of each read. */
function watched({ events }: Store, onRead: (options: { readonly after: number }) => void): EventStorage {
  return {
    epoch: events.epoch,
    get tail() {
      return events.tail;
    },
    get head() {
      return events.head;
    },
    read: (options) => {
      onRead(options);
      return events.read(options);
    },
    positionBefore: (time) => events.positionBefore(time),
    positionKeeping: (bytes) => events.positionKeeping(bytes),
    onAppend: (listener) => events.onAppend(listener),
  };
}

/** A reader that is resumed by its cursor, and keeps what it was told. */
class Reader {
  readonly #log: EventLog;
  readonly #filter: EventFilter;
  /** Stretches without a gap that it was told of. */
  readonly #seen: LogEvent[][] = [[]];
  #position = 0;
  #stop = new AbortController();
  #items: AsyncGenerator<LogItem, void, undefined> | undefined;

  constructor(log: EventLog, filter: EventFilter) {
    this.#log = log;
    this.#filter = filter;
  }

  /** Reads so many events, or all there are. */
  async read(count: number, store: Store): Promise<void> {
    const { events } = store;
    for (let left = count; left > 0; left -= 1) {
      const rest = await events.read({
        after: Math.max(this.#position, events.head - 1),
        filter: this.#filter,
        limit: 1,
      });
      if (rest.events.length === 0) return;
      this.#items ??= this.#log.follow({
        after: this.#position,
        filter: this.#filter,
        signal: this.#stop.signal,
      });
      try {
        const { value } = await this.#items.next();
        if (value?.kind !== "event") throw new Error("the follower ended");
        this.#seen.at(-1)?.push(value.event);
        this.#position = value.event.position;
      } catch (error) {
        expect(error).toMatchObject({ details: { reason: "CURSOR_TOO_OLD" } });
        this.#goOnAfter(events.head - 1);
        this.#items = undefined;
      }
    }
  }

  async resume(): Promise<void> {
    await this.stop();
    const start = await this.#log.positionAt({ kind: "start" });
    if (start > this.#position) this.#goOnAfter(start);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#items?.return().catch(() => {});
    this.#items = undefined;
    this.#stop = new AbortController();
  }

  check(): void {
    const step = this.#filter.labels === undefined ? 1 : 2; // it has each event, or each odd one
    for (const stretch of this.#seen) {
      const positions = stretch.map(({ position }) => position);
      const [first = 1] = positions;
      expect(positions).toEqual(positions.map((_, index) => first + index * step));
      for (const { position, data } of stretch) expect(data?.number).toBe(String(position));
      expect(stretch.every((event) => matches(event, this.#filter))).toBe(true);
    }
    const all = this.#seen.flat().map(({ position }) => position);
    expect(all).toEqual([...new Set(all)].sort((left, right) => left - right));
  }

  #goOnAfter(position: number): void {
    this.#position = position;
    this.#seen.push([]);
  }
}

interface Parts extends AsyncDisposable {
  readonly store: Store;
  readonly log: EventLog;
  append(...events: readonly NewEvent[]): Promise<void>;
  take(
    count: number,
    options: { readonly after: number; readonly filter?: EventFilter },
  ): Promise<readonly LogEvent[]>;
  follow(options: {
    readonly after: number;
    readonly filter: EventFilter;
    readonly bookmarkEveryMs?: number;
  }): AsyncGenerator<LogItem, void, undefined>;
}

async function open(options: {
  readonly memoryCount?: number;
  readonly memoryBytes?: number;
  readonly now?: number | (() => number);
}): Promise<Parts> {
  const folder = await tempFolder();
  const store = new SqliteStore(folder.file("log.db"));
  const { now = 0, memoryCount = 64 } = options;
  const clock = typeof now === "number" ? () => now : now;
  const log = new EventLog(store.events, {
    clock,
    memoryCount,
    memoryBytes: options.memoryBytes ?? memoryBytes,
  });
  const stop = new AbortController();
  return {
    store,
    log,
    append: (...events) => append(store, events),
    take: (count, { after, filter = {} }) => taken(log, count, { after, filter }),
    follow: (more) => log.follow({ ...more, signal: stop.signal }),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      log[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function taken(
  log: EventLog,
  count: number,
  { after = 0, filter = {} }: { readonly after?: number; readonly filter?: EventFilter },
): Promise<readonly LogEvent[]> {
  const seen: LogEvent[] = [];
  for await (const item of log.follow({ after, filter, signal: AbortSignal.timeout(30_000) })) {
    if (item.kind === "event") seen.push(item.event);
    if (seen.length === count) break;
  }
  return seen;
}

function append(store: Store, events: readonly NewEvent[]): Promise<void> {
  return store.change({}, () => changed(undefined, [], events));
}

/** Events whose number is their time, and, in a log of nothing else, their position. */
function numbered(from: number, to: number): [NewEvent, ...NewEvent[]] {
  const one = (number: number): NewEvent => ({
    type: "system_startup",
    source: "test",
    at: number,
    data: { number: String(number) },
    labels: { parity: number % 2 === 0 ? "even" : "odd" },
  });
  return [one(from), ...range(from + 1, to).map(one)];
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
