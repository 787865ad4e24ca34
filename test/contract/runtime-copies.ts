import { expect, test } from "bun:test";
import { extract, type Headers, pack } from "tar-stream";
import type { RuntimeId } from "../../src/runtime/runtime.ts";
import { failure, type Subject, soon } from "./runtime-subject.ts";

const FOREVER = "sleep 100000";
const NOBODY = "f".repeat(64) as RuntimeId; // as: an id of the right form

/** An uncompressed archive of these entries. */
export function tar(entries: readonly (readonly [Headers, string])[]): AsyncIterable<Uint8Array> {
  const packed = pack();
  for (const [header, content] of entries) packed.entry(header, content);
  packed.finalize();
  return packed;
}

/** The entries of an archive, with their contents. */
export async function untar(archive: AsyncIterable<Uint8Array>): Promise<(readonly [Headers, string])[]> {
  const found: [Headers, string][] = [];
  const entries = extract();
  const feeding = (async () => {
    try {
      for await (const chunk of archive)
        if (!entries.write(chunk)) await new Promise((done) => entries.once("drain", done));
      entries.end();
    } catch (error) {
      entries.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  })();
  for await (const entry of entries) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk);
    found.push([entry.header, Buffer.concat(chunks).toString()]);
  }
  await feeding;
  return found;
}

export function copyContract(subject: Subject): void {
  const into = { path: "/tmp", overwrite: "same_kind" } as const;

  test("copyIn() and copyOut() carry files, folders, links and modes, also of a container that does not run", async () => {
    const { runtime } = subject;
    const id = await subject.created(subject.script(FOREVER));
    const archive = tar([
      [{ name: "box", type: "directory", mode: 0o750 }, ""],
      [{ name: "box/ß file", mode: 0o4711, mtime: new Date(1_700_000_000_000) }, "content\n"],
      [{ name: "box/link", type: "symlink", linkname: "ß file" }, ""],
    ]);
    await runtime.copyIn(id, into, archive, soon());
    expect(await runtime.stat(id, "/tmp/box", soon())).toMatchObject({
      name: "box",
      kind: "folder",
      mode: 0o750,
    });
    expect(await runtime.stat(id, "/tmp/box/ß file", soon())).toEqual({
      name: "ß file",
      kind: "file",
      size: 8,
      mode: 0o4711,
      modifiedAt: 1_700_000_000_000,
      linkTarget: "",
    });
    expect(await runtime.stat(id, "/tmp/box/link", soon())).toMatchObject({
      name: "link",
      kind: "link",
      linkTarget: "/tmp/box/ß file",
    });
    expect(await runtime.stat(id, "/", soon())).toMatchObject({ name: "/", kind: "folder", linkTarget: "" });
    const found = await untar(await runtime.copyOut(id, "/tmp/box", soon()));
    expect(
      found.map(([{ name, type }, content]) => [name.replace(/\/$/, ""), type, content]).toSorted(),
    ).toEqual([
      ["box", "directory", ""],
      ["box/link", "symlink", ""],
      ["box/ß file", "file", "content\n"],
    ]);
  });

  test("copyOut() of a link gives the link, and stat() knows one that leads nowhere, where the engine copies links", async () => {
    const { runtime } = subject;
    const { copiesLinks } = await subject.capabilities();
    const id = await subject.created(subject.script(FOREVER));
    const archive = tar([
      [{ name: "file" }, "content"],
      [{ name: "link", type: "symlink", linkname: "file" }, ""],
      [{ name: "broken", type: "symlink", linkname: "nowhere" }, ""],
    ]);
    await runtime.copyIn(id, into, archive, soon());
    const copied = async (name: string) =>
      (await untar(await runtime.copyOut(id, `/tmp/${name}`, soon()))).map(([{ name, type }, content]) => [
        name,
        type,
        content,
      ]);
    expect(await copied("link")).toEqual([
      copiesLinks ? ["link", "symlink", ""] : ["link", "file", "content"],
    ]);
    const broken = await runtime.stat(id, "/tmp/broken", soon());
    if (copiesLinks) {
      expect(broken).toMatchObject({ name: "broken", kind: "link", linkTarget: "/tmp/nowhere" });
      expect(await copied("broken")).toEqual([["broken", "symlink", ""]]);
    } else {
      expect(broken).toBeUndefined();
      expect((await failure(copied("broken"))).kind).toBe("not_found");
    }
  });

  test("stat() and copyOut() of what is not there, and all of no container", async () => {
    const { runtime } = subject;
    const id = await subject.created(subject.script(FOREVER));
    expect(await runtime.stat(id, "/nothing/here", soon())).toBeUndefined();
    const calls = [
      () => runtime.copyOut(id, "/nothing", soon()),
      () => runtime.copyIn(id, { ...into, path: "/nothing" }, tar([]), soon()),
      () => runtime.stat(NOBODY, "/tmp", soon()),
      () => runtime.copyOut(NOBODY, "/tmp", soon()),
      () => runtime.copyIn(NOBODY, into, tar([]), soon()),
    ];
    for (const call of calls) expect((await failure(call())).kind).toBe("not_found");
    expect(await runtime.stat(id, "/nothing", soon())).toBeUndefined();
  });

  test("a path can't leave the container", async () => {
    const { runtime } = subject;
    const id = await subject.created(subject.script(FOREVER));
    const path = "/../../../../../../tmp";
    const leaving = tar([[{ name: "../../../../../escaped" }, "x"]]);
    // An engine may refuse such a name, or put it into the container; it is not put anywhere else.
    await runtime.copyIn(id, { ...into, path }, leaving, soon()).catch(() => {});
    await runtime.copyIn(id, { ...into, path }, tar([[{ name: "inside" }, "x"]]), soon());
    expect((await runtime.stat(id, "/tmp/inside", soon()))?.kind).toBe("file");
    expect(await Bun.file("/escaped").exists()).toBe(false);
    expect(await Bun.file("/tmp/escaped").exists()).toBe(false);
  });

  test("copyIn() keeps a file from taking a folder's place, and the other way round, unless it is told so", async () => {
    const { runtime } = subject;
    const id = await subject.created(subject.script(FOREVER));
    await runtime.copyIn(id, into, tar([[{ name: "place", type: "directory" }, ""]]), soon());
    const file = () => tar([[{ name: "place" }, "file"]]);
    const folder = () => tar([[{ name: "file", type: "directory" }, ""]]);
    await runtime.copyIn(id, into, tar([[{ name: "file" }, "file"]]), soon());
    for (const archive of [file(), folder()])
      expect((await failure(runtime.copyIn(id, into, archive, soon()))).kind).toBe("failed_precondition");
    expect((await runtime.stat(id, "/tmp/place", soon()))?.kind).toBe("folder");
    expect((await runtime.stat(id, "/tmp/file", soon()))?.kind).toBe("file");
    await runtime.copyIn(id, { ...into, overwrite: "anything" }, file(), soon());
    expect((await runtime.stat(id, "/tmp/place", soon()))?.kind).toBe("file");
  });

  test("copyIn() of an archive that is cut off is INVALID_ARGUMENT, and throws what its source throws", async () => {
    const { runtime } = subject;
    const id = await subject.created(subject.script(FOREVER));
    const whole: Uint8Array[] = [];
    for await (const chunk of tar([[{ name: "cut" }, "x".repeat(5_000)]])) whole.push(chunk);
    async function* cut() {
      yield Buffer.concat(whole).subarray(0, 2_000);
    }
    expect((await failure(runtime.copyIn(id, into, cut(), soon()))).kind).toBe("invalid_argument");
    async function* broken() {
      yield Buffer.concat(whole).subarray(0, 2_000);
      throw new RangeError("the source has broken");
    }
    await expect(runtime.copyIn(id, into, broken(), soon())).rejects.toThrow("the source has broken");
  });

  test("an aborted signal ends a copy either way, and the container can be removed", async () => {
    const { runtime } = subject;
    const id = await subject.started(subject.script(FOREVER));
    const ending = new AbortController();
    const source = Promise.withResolvers<void>();
    async function* endless() {
      const header: Uint8Array[] = [];
      for await (const chunk of tar([[{ name: "endless" }, "x".repeat(600_000)]])) header.push(chunk);
      yield Buffer.concat(header).subarray(0, 300_000);
      source.resolve();
      await new Promise(() => {});
    }
    const copying = failure(runtime.copyIn(id, into, endless(), ending.signal));
    await source.promise;
    ending.abort();
    expect((await copying).kind).toBe("cancelled");
    expect((await failure(runtime.copyOut(id, "/tmp", AbortSignal.abort()))).kind).toBe("cancelled");
    await runtime.remove(id, soon());
  });
}
