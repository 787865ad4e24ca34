import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { execTable } from "../../src/containers/execs/exec.ts";
import { Failure } from "../../src/failure.ts";
import { counterTable } from "../../src/store/counters.ts";
import { migrations } from "../../src/store/sqlite/migrations.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { changed, put, unchanged } from "../../src/store/store.ts";
import { failed, save } from "../contract/store-changes.ts";
import { note, noteMigration, noteTable } from "../contract/store-subject.ts";
import { tempFolder } from "../temp-folder.ts";

describe("opening a database file", () => {
  test("new SqliteStore() refuses a database from the future, and leaves it as it is", async () => {
    await using folder = await tempFolder();
    const path = folder.file("future.db");
    await using newer = new SqliteStore(path, { migrations: [...migrations, noteMigration] });
    await newer[Symbol.asyncDispose]();
    const before = readFileSync(path);
    const failure = refusal(path);
    expect(failure.kind).toBe("failed_precondition");
    expect(failure.message).toContain(`"${path}": it was written by a newer baaaht`);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test("new SqliteStore() keeps the commands that a server of the first shape has left", async () => {
    await using folder = await tempFolder();
    const path = folder.file("old.db");
    await using old = new SqliteStore(path, { migrations: migrations.slice(0, 1) });
    await old[Symbol.asyncDispose]();
    const body = { id: "e", containerId: "c", sessionId: "s", command: ["x"], startedAt: 1 };
    const database = new Database(path);
    database.run('INSERT INTO execs ("key", body) VALUES (?, ?)', ["e", JSON.stringify(body)]);
    database.close();
    await using store = new SqliteStore(path);
    const { rows } = await store.list(execTable, { where: { state: "running", containerId: "c" }, limit: 9 });
    const since = { tty: false, stdin: false, onDisconnect: "kill", life: { state: "running" } } as const;
    expect(rows).toEqual([{ ...body, ...since } as never]); // as: plain texts are no ids to the types
  });

  test("new SqliteStore() refuses another program's database, and leaves it as it is", async () => {
    await using folder = await tempFolder();
    for (const [name, mark] of [
      ["tables.db", "CREATE TABLE theirs (a)"],
      ["marked.db", "PRAGMA application_id = 12345"],
    ] as const) {
      const path = folder.file(name);
      const theirs = new Database(path);
      theirs.run(mark);
      theirs.close();
      const before = readFileSync(path);
      const failure = refusal(path);
      expect([failure.kind, failure.message]).toEqual([
        "failed_precondition",
        `Cannot open database "${path}": it belongs to another program`,
      ]);
      expect(readFileSync(path).equals(before)).toBe(true);
    }
  });

  test("new SqliteStore() refuses a file that is no database", async () => {
    await using folder = await tempFolder();
    const path = folder.file("text.db");
    writeFileSync(path, "this is a text\n".repeat(500));
    const failure = refusal(path);
    expect([failure.kind, failure.message]).toEqual([
      "failed_precondition",
      `Cannot open database "${path}": the file is not a database`,
    ]);
  });

  test("new SqliteStore() says DATA_LOSS of a damaged file", async () => {
    await using folder = await tempFolder();
    const path = folder.file("damaged.db");
    await using store = new SqliteStore(path);
    await store[Symbol.asyncDispose]();
    const bytes = readFileSync(path);
    bytes.fill(0xa5, 100, 4_096); // the schema's page behind the file's header
    writeFileSync(path, bytes);
    const failure = refusal(path);
    expect(failure.kind).toBe("data_loss");
    expect(failure.message).toContain("is damaged; restore it from a backup");
  });

  test("new SqliteStore() says that it can't open a folder, a missing folder, or a file behind a file", async () => {
    await using folder = await tempFolder();
    writeFileSync(folder.file("file"), "");
    for (const path of [folder.path, folder.file("missing/a.db"), folder.file("file/a.db")]) {
      const failure = refusal(path);
      expect(failure.kind).toBe("unavailable");
      expect(failure.message).toContain(`Cannot open database "${path}": the data folder can't be used`);
    }
  });

  test("new SqliteStore() refuses a database that another process has open", async () => {
    await using folder = await tempFolder();
    const path = folder.file("held.db");
    await using holder = new SqliteStore(path);
    await holder.change({}, () => changed(undefined, [put(counterTable, { name: "n", value: 1 })]));
    const failure = refusal(path);
    expect(failure.kind).toBe("unavailable");
    expect(failure.message).toContain("locked");
  });

  test("new SqliteStore() brings an older database forward and keeps what it holds", async () => {
    await using folder = await tempFolder();
    const path = folder.file("grown.db");
    await using first = new SqliteStore(path);
    await first.change({}, () => changed(undefined, [put(counterTable, { name: "n", value: 5 })]));
    const { install, events } = first;
    await first[Symbol.asyncDispose]();
    await using grown = new SqliteStore(path, { migrations: [...migrations, noteMigration] });
    expect(await grown.get(counterTable, "n")).toEqual({ name: "n", value: 5 });
    await save(grown, note("a"));
    expect(await grown.get(noteTable, "a")).toEqual(note("a"));
    expect([grown.install, grown.events.epoch]).toEqual([install, events.epoch]);
  });

  test("new SqliteStore() undoes a migration of which a step fails", async () => {
    await using folder = await tempFolder();
    const path = folder.file("failing.db");
    await using first = new SqliteStore(path);
    await first[Symbol.asyncDispose]();
    const steps = [...migrations, noteMigration, "CREATE TABLE notes (again)"];
    expect(() => new SqliteStore(path, { migrations: steps })).toThrow("already exists");
    await using again = new SqliteStore(path, { migrations: [...migrations, noteMigration] });
    expect(await again.count(noteTable, {})).toBe(0);
  });

  test("a new file carries our application id, and an install of its own", async () => {
    await using folder = await tempFolder();
    await using one = new SqliteStore(folder.file("one.db"));
    await using two = new SqliteStore(folder.file("two.db"));
    expect(one.install).toMatch(/^[0-9a-f-]{36}$/);
    expect(two.install).not.toBe(one.install);
    await one[Symbol.asyncDispose]();
    const raw = new Database(folder.file("one.db"));
    expect(raw.query<{ application_id: number }, []>("PRAGMA application_id").get()?.application_id).toBe(
      0x62616168,
    );
    raw.close();
  });
});

describe("a database file", () => {
  test("is its owner's alone, with what lies beside it, whatever the umask is and whatever mode it had", async () => {
    await using folder = await tempFolder();
    chmodSync(folder.path, 0o755);
    const modes = () =>
      readdirSync(folder.path)
        .toSorted()
        .map((name) => [name, statSync(folder.file(name)).mode & 0o777]);
    const before = process.umask(0);
    try {
      const path = folder.file("a.db");
      await using store = new SqliteStore(path);
      await store.change({}, () => changed(undefined, [put(counterTable, { name: "n", value: 1 })]));
      expect(modes()).toEqual([
        ["a.db", 0o600],
        ["a.db-wal", 0o600],
      ]);
      // As a crash leaves it, and a careless copy makes it.
      for (const name of ["a.db", "a.db-wal"]) {
        copyFileSync(folder.file(name), folder.file(name.replace("a", "b")));
        chmodSync(folder.file(name.replace("a", "b")), 0o644);
      }
      await using copy = new SqliteStore(folder.file("b.db"));
      expect(await copy.get(counterTable, "n")).toEqual({ name: "n", value: 1 });
      await copy.change({}, () => changed(undefined, [put(counterTable, { name: "n", value: 2 })]));
      expect(modes()).toEqual(["a.db", "a.db-wal", "b.db", "b.db-wal"].map((name) => [name, 0o600]));
    } finally {
      process.umask(before);
    }
  });

  test("holds the labels of an event once", async () => {
    await using folder = await tempFolder();
    const path = folder.file("labels.db");
    await using store = new SqliteStore(path);
    const labels = Object.fromEntries(
      Array.from({ length: 64 }, (_, index) => [`l${index}`, "x".repeat(1_000)]),
    );
    const event = { type: "message_created", source: "test", at: 0, labels } as const;
    for (let index = 0; index < 100; index += 1)
      await store.change({}, () => changed(undefined, [], [event]));
    await store[Symbol.asyncDispose]();
    expect(existsSync(`${path}-wal`)).toBe(false);
    expect(statSync(path).size).toBeLessThan(100 * 64 * 1_000 * 1.5);
  });

  test("is rid of large events in steps of their size", async () => {
    await using folder = await tempFolder();
    await using store = new SqliteStore(folder.file("trim.db"));
    const labels = { long: "x".repeat(1_000_000) };
    const event = { type: "message_created", source: "test", at: 0, labels } as const;
    for (let index = 0; index < 40; index += 1) await store.change({}, () => changed(undefined, [], [event]));
    const steps: number[] = [];
    while (steps.at(-1) !== 0) steps.push(await store.trimEvents(40, { limit: 2_000 }));
    expect(steps).toEqual([16, 16, 7, 0]);
  });
});

describe("writing to a database file", () => {
  test("change() refuses to write to a file that was removed or replaced, and reads go on", async () => {
    await using folder = await tempFolder();
    const path = folder.file("moving.db");
    await using store = new SqliteStore(path);
    const count = (value: number) =>
      store.change({}, () => changed(undefined, [put(counterTable, { name: "n", value })]));
    await count(1);
    renameSync(path, folder.file("away.db"));
    expect(await failed(count(2))).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("was removed"),
      details: { reason: "STORAGE_UNAVAILABLE" },
    });
    writeFileSync(path, "");
    expect(await failed(count(2))).toMatchObject({ message: expect.stringContaining("was replaced") });
    expect(await store.get(counterTable, "n")).toEqual({ name: "n", value: 1 });
    rmSync(path);
    renameSync(folder.file("away.db"), path);
    await count(3);
    expect(await store.get(counterTable, "n")).toEqual({ name: "n", value: 3 });
  });

  test("problem says why nothing can be written, and not what was wrong with one change", async () => {
    await using folder = await tempFolder();
    const path = folder.file("problem.db");
    await using store = new SqliteStore(path);
    const save = (value: unknown) =>
      store.change({}, () => changed(undefined, [put(counterTable, { name: "n", value: value as number })]));
    await save(1);
    expect(store.problem).toBeUndefined();
    renameSync(path, folder.file("away.db"));
    await failed(save(2));
    expect(store.problem).toContain("was removed");
    await save(2n).catch(() => {}); // not plain data without bigints: a defect
    expect(store.problem).toContain("was removed");
    renameSync(folder.file("away.db"), path);
    await save(2n).catch(() => {});
    await save(3);
    expect(store.problem).toBeUndefined();
    await save(2n).catch(() => {});
    expect(store.problem).toBeUndefined();
  });

  test("get() says DATA_LOSS of a row whose page is gone", async () => {
    await using folder = await tempFolder();
    const path = folder.file("cut.db");
    const steps = { migrations: [...migrations, noteMigration] };
    await using store = new SqliteStore(path, steps);
    for (let index = 0; index < 200; index += 1)
      await save(store, note(`n${index}`, { body: "x".repeat(2_000) }));
    await store[Symbol.asyncDispose]();
    const pages = readFileSync(path).length / 4_096;
    truncateSync(path, Math.ceil(pages / 2) * 4_096);
    const outcome = await (async () => {
      await using cut = new SqliteStore(path, steps);
      return await cut.list(noteTable, { limit: 1_000 });
    })().catch((error: unknown) => error);
    expect(outcome).toMatchObject({ kind: "data_loss" });
  });

  test("change() is refused at once when too many wait, and the others are made", async () => {
    await using folder = await tempFolder();
    await using store = new SqliteStore(folder.file("busy.db"));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20_100 }, () => store.change({}, () => unchanged("made"))),
    );
    const refused = outcomes.filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(100);
    expect(refused[0]).toMatchObject({
      reason: { kind: "resource_exhausted", details: { reason: "STORE_BUSY" } },
    });
    expect(await store.change({}, () => unchanged("again"))).toBe("again");
  });

  test("changes that arrive together share commits", async () => {
    await using folder = await tempFolder();
    await using store = new SqliteStore(folder.file("group.db"));
    const commits: number[] = [];
    store.events.onAppend((events) => commits.push(events.length));
    await Promise.all(
      Array.from({ length: 600 }, () =>
        store.change({}, () => changed(undefined, [], [{ type: "system_startup", source: "test", at: 0 }])),
      ),
    );
    expect(commits).toEqual([512, 88]);
  });
});

/** The Failure with which a file is refused. */
function refusal(path: string): Failure {
  try {
    new SqliteStore(path);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error(`"${path}" was opened`);
}
