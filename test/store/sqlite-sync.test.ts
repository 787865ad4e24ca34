import { expect, test } from "bun:test";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { LogEvent, NewEvent } from "../../src/events/event.ts";
import { migrations } from "../../src/store/sqlite/migrations.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { changed, put, type Store, unchanged } from "../../src/store/store.ts";
import { failure } from "../contract/runtime-subject.ts";
import { note, noteMigration, noteTable } from "../contract/store-subject.ts";
import { smallDisk } from "../daemon/small-disk.ts";
import { tempFolder } from "../temp-folder.ts";

test("change() is not told, and what it saved is not read, before the disk has confirmed it", async () => {
  await using folder = await tempFolder();
  const disk = confirmedByHand();
  await using store = open(folder.path, disk.sync);
  const told = toldBy(store);
  const seen: string[] = [];
  const saving = save(store, "a").then(() => seen.push("saved"));
  const sync = await disk.next();
  const reading = store.get(noteTable, "a").then((row) => seen.push(`read ${row?.id}`));
  const listing = store.list(noteTable, { limit: 10 }).then((page) => seen.push(`listed ${page.position}`));
  await turns();
  expect({ seen, told: told.length, tail: store.events.tail }).toEqual({ seen: [], told: 0, tail: 0 });
  sync.resolve();
  await Promise.all([saving, reading, listing]);
  expect(seen.toSorted()).toEqual(["listed 1", "read a", "saved"]);
  expect(told.map(({ position }) => position)).toEqual([1]);
});

test("change() waits for the disk together with all that arrive while an earlier one is confirmed", async () => {
  await using folder = await tempFolder();
  const disk = confirmedByHand();
  await using store = open(folder.path, disk.sync);
  const first = save(store, "a");
  const sync = await disk.next();
  const others = ["b", "c", "d"].map((id) => save(store, id));
  await turns();
  sync.resolve();
  await first;
  (await disk.next()).resolve();
  await Promise.all(others);
  expect(disk.syncs()).toBe(2);
  expect(await store.count(noteTable, {})).toBe(4);
});

test("change() that changes nothing waits for no disk", async () => {
  await using folder = await tempFolder();
  const disk = confirmedByHand();
  await using store = open(folder.path, disk.sync);
  expect(await store.change({}, () => unchanged("same"))).toBe("same");
  expect(disk.syncs()).toBe(0);
});

test("change() is durable by a checkpoint when the disk does not confirm the log", async () => {
  await using folder = await tempFolder();
  await using store = open(folder.path, () => Promise.reject(new Error("EIO")));
  const told = toldBy(store);
  await save(store, "a");
  expect(await Bun.file(join(folder.path, "test.db-wal")).stat()).toMatchObject({ size: 0 });
  expect({ told: told.length, problem: store.problem }).toEqual({ told: 1, problem: undefined });
});

test("change() that the disk confirms in no way loses the store, which answers nothing from then on", async () => {
  await using disk = await smallDisk({ megabytes: 4 });
  const told: LogEvent[] = [];
  {
    await using store = open(disk.path, () => {
      disk.fill();
      return Promise.reject(new Error("EIO"));
    });
    store.events.onAppend((events) => told.push(...events));
    // More than the file has room for, so that a checkpoint needs space.
    const saving = save(store, "a", "x".repeat(500_000));
    const waiting = turns().then(() => save(store, "b"));
    const why = "did not confirm a commit (EIO)";
    const { kind, message } = await failure(saving);
    expect({ kind, message }).toEqual({ kind: "unavailable", message: expect.stringContaining(why) });
    expect((await failure(waiting)).message).toContain(why);
    expect((await failure(store.get(noteTable, "a"))).message).toContain(why);
    expect((await failure(save(store, "c"))).message).toContain(why);
    expect((await store.whenLost).message).toContain(why);
    expect(store.problem).toContain("EIO");
    expect(told).toEqual([]);
    disk.free();
  }
  await using again = open(disk.path, () => Promise.resolve());
  expect((await again.list(noteTable, { limit: 10 })).rows.map(({ id }) => id)).toEqual(["a"]);
  expect(again.events.tail).toBe(1);
});

test("get() does not wait for a disk that does not answer, which is a problem until it does", async () => {
  await using folder = await tempFolder();
  const disk = confirmedByHand();
  await using store = open(folder.path, disk.sync, { stalledAfterMs: 20 });
  const saving = save(store, "a");
  const sync = await disk.next();
  await expect(store.get(noteTable, "a")).rejects.toMatchObject({
    kind: "unavailable",
    message: "Cannot use the store: the disk has not confirmed the last commit for 0.02 s",
  });
  expect(store.problem).toBe("Cannot use the store: the disk has not confirmed the last commit for 0.02 s");
  sync.resolve();
  await saving;
  expect(await store.get(noteTable, "a")).toEqual(note("a", { body: "" }));
  expect(store.problem).toBeUndefined();
});

test("change() saves nothing more when the write-ahead log was removed, and loses nothing with it", async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, "test.db");
  const copy = join(folder.path, "copy.db");
  await using store = open(folder.path);
  await save(store, "a");
  rmSync(`${path}-wal`);
  const removed = { kind: "unavailable", message: expect.stringMatching(/log ".*-wal" was removed/) };
  await expect(save(store, "b")).rejects.toMatchObject(removed);
  expect(store.problem).toContain("was removed");
  // What a killed server leaves behind.
  copyFileSync(path, copy);
  await using again = new SqliteStore(copy, { migrations: [...migrations, noteMigration] });
  expect((await again.list(noteTable, { limit: 10 })).rows.map(({ id }) => id)).toEqual(["a"]);
});

function open(
  folder: string,
  sync?: () => Promise<void>,
  more: { readonly stalledAfterMs?: number } = {},
): SqliteStore {
  return new SqliteStore(join(folder, "test.db"), {
    migrations: [...migrations, noteMigration],
    ...(sync && { sync }),
    ...more,
  });
}

function save(store: Store, id: string, body = ""): Promise<unknown> {
  return store.change({}, () => changed(undefined, [put(noteTable, note(id, { body }))], [told(id)]));
}

function told(of: string): NewEvent {
  return { type: "session_created", source: "test", at: 1, actor: "test", correlationId: "c", data: { of } };
}

function toldBy(store: Store): LogEvent[] {
  const all: LogEvent[] = [];
  store.events.onAppend((events) => all.push(...events));
  return all;
}

/** A disk that confirms when it is told to. */
function confirmedByHand() {
  let count = 0;
  let asked = Promise.withResolvers<PromiseWithResolvers<void>>();
  return {
    sync: () => {
      count += 1;
      const one = Promise.withResolvers<void>();
      asked.resolve(one);
      return one.promise;
    },
    next: async () => {
      const one = await asked.promise;
      asked = Promise.withResolvers();
      return one;
    },
    syncs: () => count,
  };
}

/** Lets all that could happen by itself happen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
