import { expect, test } from "bun:test";
import type { LogEvent, NewEvent } from "../../src/events/event.ts";
import { type EventFilter, matches } from "../../src/events/filter.ts";
import { changed, put, type Store, unchanged } from "../../src/store/store.ts";
import { allEvents, told } from "./store-changes.ts";
import { brokenTable, note, noteTable, type StoreSubject } from "./store-subject.ts";

/** What a store promises of the log. */
export function storeEvents(open: () => Promise<StoreSubject>): void {
  test("events are numbered from 1 without holes, over failures and restarts", async () => {
    await using subject = await open();
    expect([subject.store.events.head, subject.store.events.tail]).toEqual([1, 0]);
    await Promise.allSettled(
      Array.from({ length: 90 }, (_, index) =>
        subject.store.change({}, () => {
          if (index % 3 === 0) throw new Error("no");
          const rows = index % 3 === 1 ? [put(brokenTable, note("b"))] : [];
          return changed(undefined, rows, [told(`${index}`), told(`${index} again`)]);
        }),
      ),
    );
    await append(subject.store, told("last"));
    const store = await subject.reopen();
    await append(store, told("after the restart"));
    const events = await allEvents(store);
    expect(events.map(({ position }) => position)).toEqual(
      Array.from({ length: 62 }, (_, index) => index + 1),
    );
    expect(store.events.tail).toBe(62);
    expect(new Set(events.map(({ id }) => id)).size).toBe(62);
    expect(events.slice(0, 2).map(({ data }) => data?.of)).toEqual(["2", "2 again"]);
  });

  test("events come back whole", async () => {
    await using subject = await open();
    const whole: NewEvent = {
      type: "exec_finished",
      source: "containers",
      at: 1_234,
      data: { "~n1": "~", exit_code: "0" },
      priority: "high",
      labels: { 'a"b': "😀" },
      sessionId: "s",
      containerId: "c",
      taskId: "t",
      agentId: "a",
      userId: "u",
      correlationId: "k",
      actor: "uid:0",
    };
    await append(subject.store, whole);
    const [event] = await allEvents(await subject.reopen());
    expect(event).toMatchObject({ ...whole, position: 1 });
  });

  test("onAppend() tells of each commit after it, in order, until it is stopped", async () => {
    await using subject = await open();
    const { store } = subject;
    const heard: number[] = [];
    const visible: Promise<boolean>[] = [];
    const stop = store.events.onAppend((events) => {
      for (const { position, data } of events) {
        heard.push(position);
        expect(store.events.tail).toBeGreaterThanOrEqual(position);
        visible.push(store.get(noteTable, data?.of ?? "").then((row) => row !== undefined));
      }
    });
    await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        store.change({}, () => changed(undefined, [put(noteTable, note(`n${index}`))], [told(`n${index}`)])),
      ),
    );
    expect(heard).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect(await Promise.all(visible)).not.toContain(false);
    await store.change({}, () => unchanged(undefined));
    expect(heard).toHaveLength(40);
    stop();
    await append(store, told("unheard"));
    expect(heard).toHaveLength(40);
  });

  test("onAppend() has told of an event before its change resolves", async () => {
    await using subject = await open();
    let heard = 0;
    subject.store.events.onAppend((events) => {
      heard += events.length;
    });
    await append(subject.store, told("a"));
    expect(heard).toBe(1);
  });

  test("read() gives what matches() would, for each part of a filter", async () => {
    await using subject = await open();
    const { store } = subject;
    const base = told("x", 100);
    const events: readonly NewEvent[] = [
      base,
      { ...base, type: "session_created", sessionId: "s1", labels: { a: "1" } },
      { ...base, type: "message_created", sessionId: "s1", at: 200, labels: { a: "1", b: "2" } },
      { ...base, source: "containers", containerId: "c1", priority: "high", at: 150 },
      { ...base, taskId: "t1", agentId: "a1", priority: "normal", at: 300, labels: { "a.b": '"' } },
    ];
    await store.change({}, () => changed(undefined, [], events));
    const filters: readonly EventFilter[] = [
      {},
      { types: [] },
      { types: ["session_created", "message_created", "session_created"] },
      { types: Array.from({ length: 50_000 }, () => "session_created" as const) },
      { source: "containers" },
      { source: "" },
      { sessionId: "s1" },
      { containerId: "c1" },
      { taskId: "t1" },
      { agentId: "a1" },
      { priority: "normal" },
      { priority: "high" },
      { priority: "low" },
      { labels: { a: "1" } },
      { labels: { a: "1", b: "2" } },
      { labels: { a: "2" } },
      { labels: { "a.b": '"' } },
      { labels: {} },
      { startTime: 150 },
      { endTime: 150 },
      { startTime: 101, endTime: 300 },
      { sessionId: "s1", types: ["message_created"], labels: { b: "2" }, startTime: 200, endTime: 201 },
    ];
    const all = await allEvents(store);
    for (const filter of filters) {
      const read = await store.events.read({ after: 0, filter, limit: 99 });
      expect([filter, read.events.map(positionOf)]).toEqual([
        filter,
        all.filter((event) => matches(event, filter)).map(positionOf),
      ]);
      expect(read.scannedTo).toBe(5);
    }
  });

  test("read() is gone on with from where it has looked", async () => {
    await using subject = await open();
    const { store } = subject;
    for (let index = 1; index <= 30; index += 1)
      await append(store, { ...told(""), sessionId: index % 7 === 0 ? "rare" : "other" });
    const seen: number[] = [];
    let after = 0;
    while (after < store.events.tail) {
      const { events, scannedTo } = await store.events.read({
        after,
        filter: { sessionId: "rare" },
        limit: 1,
      });
      seen.push(...events.map(positionOf));
      expect(scannedTo).toBeGreaterThan(after);
      after = scannedTo;
    }
    expect(seen).toEqual([7, 14, 21, 28]);
    expect(after).toBe(30);
  });

  test("positionBefore() is where a reader from that time begins", async () => {
    await using subject = await open();
    const { store } = subject;
    expect(await store.events.positionBefore(5)).toBe(0);
    for (const at of [100, 100, 200, 190, 300]) await append(store, told("", at));
    const expected = [
      [0, 0],
      [100, 0],
      [101, 2],
      [195, 2], // the clock was set back after the third
      [190, 2],
      [200, 2],
      [201, 4],
      [300, 4],
      [301, 5],
    ] as const;
    for (const [time, position] of expected) {
      expect([time, await store.events.positionBefore(time)]).toEqual([time, position]);
    }
  });

  test("trimEvents() forgets the oldest in steps, never the newest", async () => {
    await using subject = await open();
    const { store } = subject;
    expect(await store.trimEvents(5, { limit: 10 })).toBe(0);
    await store.change({}, () =>
      changed(
        undefined,
        [],
        Array.from({ length: 20 }, () => told("")),
      ),
    );
    expect(await store.trimEvents(1, { limit: 10 })).toBe(0);
    expect(await store.trimEvents(6, { limit: 3 })).toBe(3);
    expect(await store.trimEvents(6, { limit: 3 })).toBe(2);
    expect(await store.trimEvents(6, { limit: 3 })).toBe(0);
    expect((await allEvents(store)).map(positionOf)).toEqual(
      Array.from({ length: 15 }, (_, index) => index + 6),
    );
    expect(await store.trimEvents(1_000, { limit: 1_000 })).toBe(14);
    const again = await subject.reopen();
    expect([again.events.head, again.events.tail]).toEqual([20, 20]);
    await append(again, told(""));
    expect([again.events.head, again.events.tail]).toEqual([20, 21]);
  });

  test("read() ends early where events are large, and is gone on with from there", async () => {
    await using subject = await open();
    const { store } = subject;
    const large = { ...told("x".repeat(10_000)), labels: { long: "y".repeat(10_000) } };
    for (let index = 0; index < 10; index += 1) await append(store, large);
    const first = await store.events.read({ after: 0, filter: {}, limit: 99, maxBytes: 50_000 });
    expect([first.events.map(positionOf), first.scannedTo]).toEqual([[1, 2, 3], 3]);
    const next = await store.events.read({ after: 3, filter: {}, limit: 99, maxBytes: 1 });
    expect([next.events.map(positionOf), next.scannedTo]).toEqual([[4], 4]);
    const rest = await store.events.read({ after: 4, filter: {}, limit: 99, maxBytes: 1e9 });
    expect([rest.events.map(positionOf), rest.scannedTo]).toEqual([[5, 6, 7, 8, 9, 10], 10]);
  });

  test("positionKeeping() counts what the newest events take, over failures, trims and restarts", async () => {
    await using subject = await open();
    expect(await subject.store.events.positionKeeping(0)).toBe(0);
    const large = { ...told("x".repeat(10_000)), labels: { long: "y".repeat(10_000) } };
    for (let index = 0; index < 10; index += 1) {
      // They share a commit that is undone, and are tried again one by one.
      const broken = () => changed(undefined, [put(brokenTable, note("b"))], [large]);
      await Promise.allSettled([append(subject.store, large), subject.store.change({}, broken)]);
    }
    await append(subject.store, told("small"));
    const check = async (events: Store["events"]) => {
      // Four large ones and the small one are 80 kB and a little.
      for (const [bytes, position] of [
        [1, 11],
        [10_000, 10],
        [79_000, 7],
        [85_000, 6],
      ] as const) {
        expect([bytes, await events.positionKeeping(bytes)]).toEqual([bytes, position]);
      }
      expect(await events.positionKeeping(1e9)).toBe(events.head - 1);
    };
    await check(subject.store.events);
    await subject.store.trimEvents(4, { limit: 10 });
    await check(subject.store.events);
    const again = await subject.reopen();
    await check(again.events);
    await append(again, large);
    expect(await again.events.positionKeeping(85_000)).toBe(7);
  });

  test("epoch is of this store, and stays over restarts", async () => {
    await using subject = await open();
    await using other = await open();
    const { epoch } = subject.store.events;
    expect(epoch).toMatch(/^[0-9a-f]{1,64}$/);
    expect(other.store.events.epoch).not.toBe(epoch);
    expect((await subject.reopen()).events.epoch).toBe(epoch);
  });
}

function append(store: Store, event: NewEvent): Promise<void> {
  return store.change({}, () => changed(undefined, [], [event]));
}

function positionOf(event: LogEvent): number {
  return event.position;
}
