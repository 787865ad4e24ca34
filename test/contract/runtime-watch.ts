import { expect, test } from "bun:test";
import { failure, type Subject, soon } from "./runtime-subject.ts";

export function watchContract(subject: Subject): void {
  test("watch() tells what happens from the moment that it is in force", async () => {
    const labels = { "contract.watch": crypto.randomUUID() };
    await using watch = await subject.watching(labels);
    const id = await subject.ran(subject.script("exit 1", { labels }));
    await subject.runtime.remove(id, soon());
    for (const action of ["create", "start", "die", "destroy"]) {
      const change = await watch.until((one) => one.action === action);
      expect(change).toMatchObject({ id, labels });
      expect(Math.abs(change.at - Date.now())).toBeLessThan(60_000);
    }
  });

  test("watch() tells of pause and resume", async () => {
    const labels = { "contract.watch": crypto.randomUUID() };
    await using watch = await subject.watching(labels);
    const id = await subject.started(subject.script("sleep 100000", { labels }));
    await subject.runtime.pause(id, soon());
    await watch.until(({ action }) => action === "pause");
    await subject.runtime.resume(id, soon());
    await watch.until(({ action }) => action === "unpause");
    await subject.runtime.remove(id, soon());
  });

  test("watch() hears only of containers that carry all labels", async () => {
    const labels = { "contract.watch": crypto.randomUUID(), kind: "a" };
    await using watch = await subject.watching(labels);
    const other = await subject.created(subject.script("true", { labels: { ...labels, kind: "b" } }));
    await subject.runtime.remove(other, soon());
    const mine = await subject.created(subject.script("true", { labels }));
    expect((await watch.until(() => true)).id).toBe(mine);
  });

  test("watch() ends with CANCELLED when its signal aborts while it waits", async () => {
    const aborting = new AbortController();
    const watch = subject.runtime.watch(subject.label, aborting.signal)[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ kind: "watching" });
    const next = failure(waitForEver(watch));
    aborting.abort();
    expect((await next).kind).toBe("cancelled");
  });
}

/** Reads on, since other tests' containers may still be on their way. */
async function waitForEver(watch: AsyncIterator<unknown>): Promise<void> {
  for (let next = await watch.next(); next.done !== true; ) next = await watch.next();
}
