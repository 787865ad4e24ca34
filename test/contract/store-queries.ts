import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import type { Store } from "../../src/store/store.ts";
import { changed, put } from "../../src/store/store.ts";
import type { PagePlace, PageQuery, Query } from "../../src/store/table.ts";
import { save, told } from "./store-changes.ts";
import { type Note, note, noteTable, type StoreSubject } from "./store-subject.ts";

/** What `list` and `count` promise. */
export function storeQueries(open: () => Promise<StoreSubject>): void {
  const rows: readonly Note[] = [
    note("a", { topic: "x", rank: 3, labels: { team: "red", "a.b": "1" } }),
    note("b", { topic: "x", rank: null, labels: { team: "blue" } }),
    note("c", { topic: "y", rank: 1, labels: { team: "red", 'q"uote': "'" } }),
    note("d", { topic: "y", rank: 3, labels: {} }),
    note("e", { topic: "Z", rank: null, labels: { "": "", "😀": "😀" } }),
    note("f", { topic: "", rank: -2, labels: { team: "red", "a\\b": "\u0000" } }),
  ];
  let subject: StoreSubject;
  let store: Store;
  beforeAll(async () => {
    subject = await open();
    store = subject.store;
    for (const row of rows) await save(store, row);
  });
  afterAll(() => subject[Symbol.asyncDispose]());
  const found = async (query: Query) =>
    (await store.list(noteTable, { ...query, limit: 99 })).rows.map(({ id }) => id).join("");

  test("list() gives the rows that all conditions hold for", async () => {
    const expected: readonly (readonly [Query["where"] & object, string])[] = [
      [{}, "abcdef"],
      [{ topic: "x" }, "ab"],
      [{ topic: "" }, "f"],
      [{ topic: "z" }, ""],
      [{ topic: ["x", "Z"] }, "abe"],
      [{ topic: [] }, ""],
      [{ topic: ["x", "x", "nothing"] }, "ab"],
      [{ rank: null }, "be"],
      [{ rank: 3 }, "ad"],
      [{ rank: { gt: 1 } }, "ad"],
      [{ rank: { gte: 1 } }, "acd"],
      [{ rank: { lt: 1 } }, "f"],
      [{ rank: { lte: 1 } }, "cf"],
      [{ rank: { gt: -2, lt: 3 } }, "c"],
      [{ rank: { gte: 4, lte: 2 } }, ""],
      [{ topic: { gte: "x" } }, "abcd"],
      [{ topic: "y", rank: 3 }, "d"],
      [{ topic: ["x", "y"], rank: 3 }, "ad"],
      [{ key: "c" }, "c"],
      [{ key: { gt: "b", lte: "d" } }, "cd"],
      [{ key: { gte: "b" }, topic: ["x", "Z"] }, "be"],
    ];
    for (const [where, ids] of expected) {
      expect([where, await found({ where })]).toEqual([where, ids]);
      expect([where, await store.count(noteTable, { where })]).toEqual([where, ids.length]);
    }
  });

  test("list() finds labels with any characters", async () => {
    const expected: readonly (readonly [Record<string, string>, string])[] = [
      [{}, "abcdef"],
      [{ team: "red" }, "acf"],
      [{ team: "Red" }, ""],
      [{ team: "" }, ""],
      [{ "a.b": "1" }, "a"],
      [{ a: "1" }, ""],
      [{ 'q"uote': "'" }, "c"],
      [{ "": "" }, "e"],
      [{ "😀": "😀" }, "e"],
      [{ "a\\b": "\u0000" }, "f"],
      [{ team: "red", "a.b": "1" }, "a"],
      [{ team: "blue", "a.b": "1" }, ""],
      [{ "$.team": "red" }, ""],
      [{ "%": "%" }, ""],
    ];
    for (const [labels, ids] of expected) {
      expect([labels, await found({ labels })]).toEqual([labels, ids]);
      expect([labels, await store.count(noteTable, { labels })]).toEqual([labels, ids.length]);
    }
    expect(await found({ labels: { team: "red" }, where: { topic: "y" } })).toBe("c");
  });

  test("list() takes as many labels as a client may send", async () => {
    const labels = Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`l${index}`, "v"]));
    expect(await found({ labels })).toBe("");
    await using other = await open();
    await save(other.store, note("all", { labels }));
    for (const [wanted, count] of [
      [labels, 1],
      [{ ...labels, l2999: "other" }, 0],
      [{ ...labels, l5: "other" }, 0],
      [{ ...labels, more: "v" }, 0],
    ] as const) {
      expect(await other.store.count(noteTable, { labels: wanted })).toBe(count);
    }
  });

  test("list() orders by key or by column, rows that agree by key, nulls as the least", async () => {
    expect(await found({})).toBe("abcdef");
    expect(await found({ descending: true })).toBe("fedcba");
    expect(await found({ orderBy: "rank" })).toBe("befcad");
    expect(await found({ orderBy: "rank", descending: true })).toBe("dacfeb");
    expect(await found({ orderBy: "topic" })).toBe("feabcd");
    expect(await found({ orderBy: "topic", descending: true, where: { rank: { gte: -9 } } })).toBe("dcaf");
  });

  test("list() orders texts by their UTF-8", async () => {
    await using other = await open();
    const keys = ["\u{10000}", "\uffff", "z", "Z", "é", "", "aa", "a"];
    for (const key of keys) await save(other.store, note(key));
    const { rows: sorted } = await other.store.list(noteTable, { limit: 99 });
    expect(sorted.map(({ id }) => id)).toEqual(["", "Z", "a", "aa", "z", "é", "\uffff", "\u{10000}"]);
  });

  test("list() gives in pages what it gives at once, whatever the order, the filter and the page's size (property)", async () => {
    const query = fc.record({
      orderBy: fc.constantFrom(undefined, "rank", "topic"),
      descending: fc.boolean(),
      where: fc.constantFrom({}, { topic: ["x", "y"] }, { rank: { gte: 1 } }, { rank: null }),
      limit: fc.integer({ min: 1, max: 7 }),
    });
    await fc.assert(
      fc.asyncProperty(query, async ({ orderBy, descending, where, limit }) => {
        const asked: Query = {
          where,
          ...(orderBy === undefined ? {} : { orderBy }),
          ...(descending ? { descending: true } : {}),
        };
        const pages = await allPages(store, { ...asked, limit });
        expect(pages.flat().join("")).toBe(await found(asked));
        expect(pages.slice(0, -1).every((page) => page.length === limit)).toBe(true);
      }),
    );
  });

  test("list() counts all pages when asked, else the rows of this one", async () => {
    const page = { limit: 2, where: { rank: { gte: -9 } }, orderBy: "rank" } as const;
    const first = await store.list(noteTable, { ...page, total: true });
    expect([first.rows.length, first.total]).toEqual([2, 4]);
    const second = await store.list(noteTable, { ...page, after: first.next, total: true });
    expect([second.rows.length, second.total, second.next]).toEqual([2, 4, undefined]);
    expect((await store.list(noteTable, page)).total).toBe(2);
    expect((await store.list(noteTable, { ...page, total: 3 })).total).toBe(3);
    expect((await store.list(noteTable, { ...page, total: 9 })).total).toBe(4);
  });

  test("list() neither repeats nor skips rows while others come and go between its pages", async () => {
    await using other = await open();
    const before = Array.from({ length: 20 }, (_, index) => `k${String(index * 2).padStart(2, "0")}`);
    for (const id of before) await save(other.store, note(id));
    const seen: string[] = [];
    let after: PagePlace | undefined;
    for (let turn = 0; ; turn += 1) {
      const page = await other.store.list(noteTable, { limit: 3, after });
      seen.push(...page.rows.map(({ id }) => id));
      if (page.next === undefined) break;
      after = page.next;
      await save(other.store, note(`a${turn}`)); // before the place: not seen
      await other.store.change({}, () =>
        changed(undefined, [{ table: noteTable, remove: after?.key ?? "" }]),
      );
    }
    expect(seen).toEqual(before);
  });

  test("list() says the log's position that its rows are true for", async () => {
    await using other = await open();
    const making = Array.from({ length: 50 }, (_, index) =>
      other.store.change({}, () =>
        changed(undefined, [put(noteTable, note(`n${index}`))], [told(String(index))]),
      ),
    );
    const during = await other.store.list(noteTable, { limit: 99 });
    expect(during.rows).toHaveLength(during.position);
    await Promise.all(making);
    const after = await other.store.list(noteTable, { limit: 99 });
    expect([after.rows.length, after.position]).toEqual([50, 50]);
  });
}

async function allPages(store: Store, query: PageQuery): Promise<string[][]> {
  const pages: string[][] = [];
  let after: PagePlace | undefined;
  do {
    const page = await store.list(noteTable, { ...query, after });
    pages.push(page.rows.map(({ id }) => id));
    after = page.next;
  } while (after !== undefined);
  return pages;
}
