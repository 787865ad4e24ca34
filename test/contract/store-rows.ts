import { expect, test } from "bun:test";
import fc from "fast-check";
import { maxPageText } from "../../src/store/store.ts";
import { save } from "./store-changes.ts";
import { note, noteTable, type StoreSubject } from "./store-subject.ts";

/** What rows may hold, and that they come back as they were. */
export function storeRows(open: () => Promise<StoreSubject>): void {
  test("get() gives back every kind of value, also after a restart", async () => {
    await using subject = await open();
    const body = {
      bigints: [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 80n],
      texts: ["", "~", "~n5", "~~", "~n", '"~', 'a"~b', "\\", "\u0000", "\u2028", "😀", "é"],
      numbers: [0, -1, 1.5, 1e300, Number.MAX_SAFE_INTEGER],
      others: [true, false, null, [], {}, [[]], { a: { b: [{ c: 1n }] } }],
      names: { "": "empty", "a.b": 1, 'a"b': 2, "~n1": 3, "😀": 4 },
    };
    await save(subject.store, note("a", { body }));
    expect((await subject.store.get(noteTable, "a"))?.body).toEqual(body);
    const store = await subject.reopen();
    expect((await store.get(noteTable, "a"))?.body).toEqual(body);
    expect((await store.list(noteTable, { limit: 1 })).rows[0]?.body).toEqual(body);
  });

  test("get() gives back whatever was put (property)", async () => {
    await using subject = await open();
    let count = 0;
    const values = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string({ unit: "binary" }),
        fc.string({ unit: fc.constantFrom("~", "n", "1", '"', "\\") }),
        fc.bigInt(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie("value")),
        fc.dictionary(fc.string(), tie("value"), { noNullPrototype: true }),
      ),
    })).value;
    await fc.assert(
      fc.asyncProperty(values, async (body) => {
        count += 1;
        const row = note(`n${count}`, { body });
        await save(subject.store, row);
        expect(
          (await subject.store.list(noteTable, { where: {}, limit: 1, descending: true })).rows,
        ).toBeArray();
        expect(await subject.store.get(noteTable, row.id)).toEqual(row);
      }),
      { numRuns: 200 },
    );
    const store = await subject.reopen();
    expect(await store.count(noteTable, {})).toBe(count);
  });

  test("get() finds keys with any characters, and tells them apart", async () => {
    await using subject = await open();
    const keys = [
      "",
      " ",
      "a",
      "A",
      "a/b",
      "a\u0000b",
      "a\u0000c",
      "'",
      '"',
      "%",
      "_",
      "😀",
      "é",
      "e\u0301",
      "ÿ",
    ];
    for (const key of keys) await save(subject.store, note(key, { topic: `of ${key}` }));
    const store = await subject.reopen();
    for (const key of keys) expect((await store.get(noteTable, key))?.topic).toBe(`of ${key}`);
    expect(await store.count(noteTable, {})).toBe(keys.length);
  });

  test("get() gives back a row of 20 MB", async () => {
    await using subject = await open();
    const row = note("big", { body: `~${"é😀".repeat(5_000_000)}` });
    await save(subject.store, row);
    expect((await subject.store.get(noteTable, "big"))?.body === row.body).toBe(true);
    expect((await subject.store.list(noteTable, { limit: 5 })).rows).toHaveLength(1);
  });

  test("list() cuts a page of large rows short, and loses none of them", async () => {
    await using subject = await open();
    const ids = Array.from({ length: 12 }, (_, index) => `n${String(index).padStart(2, "0")}`);
    for (const id of ids) await save(subject.store, note(id, { body: "x".repeat(maxPageText / 4) }));
    const sizes: number[] = [];
    const seen: string[] = [];
    let after: { value: string | number | null; key: string } | undefined;
    do {
      const page = await subject.store.list(noteTable, { limit: 100, after, total: true });
      expect(page.total).toBe(ids.length);
      sizes.push(page.rows.length);
      seen.push(...page.rows.map(({ id }) => id));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual(ids);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
  });
}
