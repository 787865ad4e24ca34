import { expect, test } from "bun:test";
import type { NewEvent } from "../../src/events/event.ts";
import { Failure } from "../../src/failure.ts";
import { changed, put, remove, type Store, unchanged } from "../../src/store/store.ts";
import { brokenTable, type Note, note, noteTable, type StoreSubject } from "./store-subject.ts";

/** What `change` promises. */
export function storeChanges(open: () => Promise<StoreSubject>): void {
  test("change() resolves to what was decided, and its rows can be read then", async () => {
    await using subject = await open();
    const { store } = subject;
    const result = await store.change({}, () => changed("done", [put(noteTable, note("a", { topic: "x" }))]));
    expect(result).toBe("done");
    expect(await store.get(noteTable, "a")).toEqual(note("a", { topic: "x" }));
    expect(await store.get(noteTable, "b")).toBeUndefined();
  });

  test("change() is durable with its rows and events together once it has resolved", async () => {
    await using subject = await open();
    await subject.store.change({}, () => changed(undefined, [put(noteTable, note("a"))], [told("a")]));
    await subject.store.change({ a: { table: noteTable, key: "a" } }, ({ a }) =>
      changed(undefined, [put(noteTable, { ...some(a), rank: 7 })], [told("a again")]),
    );
    const store = await subject.reopen();
    expect(await store.get(noteTable, "a")).toEqual(note("a", { rank: 7 }));
    expect((await allEvents(store)).map(({ data }) => data)).toEqual([{ of: "a" }, { of: "a again" }]);
  });

  test("change() gives decide the rows and counts that it names", async () => {
    await using subject = await open();
    const { store } = subject;
    for (const id of ["a", "b", "c"]) await save(store, note(id, { topic: id === "c" ? "other" : "same" }));
    const loaded = await store.change(
      {
        a: { table: noteTable, key: "a" },
        missing: { table: noteTable, key: "z" },
        none: { table: noteTable, key: undefined },
        same: { table: noteTable, count: { where: { topic: "same" } } },
        all: { table: noteTable, count: {} },
      },
      unchanged,
    );
    expect(loaded).toEqual({
      a: note("a", { topic: "same" }),
      missing: undefined,
      none: undefined,
      same: 2,
      all: 3,
    });
  });

  test("change() decides on the outcome of all changes before it", async () => {
    await using subject = await open();
    const { store } = subject;
    await save(store, note("sum", { rank: 0 }));
    const seen = await Promise.all(
      Array.from({ length: 200 }, () =>
        store.change(
          { sum: { table: noteTable, key: "sum" }, all: { table: noteTable, count: {} } },
          ({ sum, all }) => {
            const rank = (sum?.rank ?? 0) + 1;
            expect(all).toBe(rank);
            return changed(rank, [put(noteTable, note("sum", { rank })), put(noteTable, note(`n${rank}`))]);
          },
        ),
      ),
    );
    expect(seen).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  });

  test("change() rejects with what decide throws, and changes nothing", async () => {
    await using subject = await open();
    const { store } = subject;
    const failure = new Failure("failed_precondition", "Cannot go on: no");
    const others = [save(store, note("before")), save(store, note("after"))];
    const failing = store.change({}, () => {
      throw failure;
    });
    expect(await failing.catch((error: unknown) => error)).toBe(failure);
    await Promise.all(others);
    expect((await store.list(noteTable, { limit: 9 })).rows.map(({ id }) => id)).toEqual(["after", "before"]);
  });

  test("change() that can't be saved fails alone, with all that it wanted to save", async () => {
    await using subject = await open();
    const { store } = subject;
    const outcomes = await Promise.allSettled(
      ["a", "b", "c", "d"].map((id) =>
        store.change({}, () =>
          changed(
            id,
            [put(noteTable, note(id)), ...(id === "b" ? [put(brokenTable, note("broken"))] : [])],
            [told(id)],
          ),
        ),
      ),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect((await store.list(noteTable, { limit: 9 })).rows.map(({ id }) => id)).toEqual(["a", "c", "d"]);
    expect((await allEvents(store)).map(({ position, data }) => [position, data?.of])).toEqual([
      [1, "a"],
      [2, "c"],
      [3, "d"],
    ]);
  });

  test("change() that fails leaves rows that were read before as they were", async () => {
    await using subject = await open();
    const { store } = subject;
    await save(store, note("a", { rank: 1 }));
    await store.get(noteTable, "a");
    const raise = store.change({ a: { table: noteTable, key: "a" } }, ({ a }) =>
      changed(undefined, [put(noteTable, { ...some(a), rank: (a?.rank ?? 0) + 1 })]),
    );
    const broken = store.change({}, () =>
      changed(undefined, [put(noteTable, note("a", { rank: 50 })), put(brokenTable, note("b"))]),
    );
    const removal = store.change({}, () =>
      changed(undefined, [remove(noteTable, "a"), put(brokenTable, note("b"))]),
    );
    await raise;
    expect(await failed(broken)).toBeInstanceOf(Error);
    expect(await failed(removal)).toBeInstanceOf(Error);
    expect(await store.get(noteTable, "a")).toEqual(note("a", { rank: 2 }));
    expect(await (await subject.reopen()).get(noteTable, "a")).toEqual(note("a", { rank: 2 }));
  });

  test("change() shows nothing to readers before its commit", async () => {
    await using subject = await open();
    const { store } = subject;
    const changing = save(store, note("a"));
    const seen = await store.get(noteTable, "a"); // asked for before the change could be made
    await changing;
    expect(seen).toBeUndefined();
    expect(await store.get(noteTable, "a")).toEqual(note("a"));
  });

  test("change() saves the last of several puts of a key, and can remove what it puts", async () => {
    await using subject = await open();
    const { store } = subject;
    await store.change({}, () =>
      changed(undefined, [
        put(noteTable, note("a", { rank: 1 })),
        put(noteTable, note("a", { rank: 2 })),
        put(noteTable, note("b")),
        remove(noteTable, "b"),
        remove(noteTable, "never there"),
      ]),
    );
    expect((await store.list(noteTable, { limit: 9 })).rows).toEqual([note("a", { rank: 2 })]);
  });

  test("dispose() first makes the changes that wait", async () => {
    await using subject = await open();
    const { store } = subject;
    const waiting = Array.from({ length: 1_500 }, (_, index) => save(store, note(`n${index}`)));
    await store[Symbol.asyncDispose]();
    await Promise.all(waiting);
    expect(await (await subject.reopen()).count(noteTable, {})).toBe(1_500);
  });

  test("dispose() twice is once, and after it everything is refused", async () => {
    await using subject = await open();
    const { store } = subject;
    await save(store, note("a"));
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    for (const refused of [
      save(store, note("b")),
      store.get(noteTable, "a"),
      store.list(noteTable, { limit: 1 }),
      store.count(noteTable, {}),
      store.trimEvents(1, { limit: 1 }),
    ]) {
      expect(await failed(refused)).toMatchObject({ kind: "unavailable" });
    }
  });
}

/** An event of nobody. */
export function told(of: string, at = 0): NewEvent {
  return { type: "system_startup", source: "test", at, data: { of } };
}

export async function allEvents(store: Store) {
  return (await store.events.read({ after: store.events.head - 1, filter: {}, limit: 100_000 })).events;
}

export function save(store: Store, row: Note): Promise<void> {
  return store.change({}, () => changed(undefined, [put(noteTable, row)]));
}

/** What a promise is rejected with. */
export async function failed(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => "it did not fail",
    (error: unknown) => error,
  );
}

function some(row: Note | undefined): Note {
  if (row === undefined) throw new Error("the row is not there");
  return row;
}
