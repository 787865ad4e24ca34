import { beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { RuntimeId } from "../../../src/runtime/runtime.ts";
import { all, failure, readUntil, SET_UP_MS, Subject, soon } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";

const subject = new Subject(async () => {
  const { dockerHost, image } = await engine();
  return { runtime: connectDocker({ dockerHost }), image };
});

/** Far below what unread output would take, far above what a collector leaves lying about. */
const FLAT_BYTES = 80_000_000;
/** More than all pipes and sockets on the way hold. */
const STUCK_BYTES = 30_000_000;
let id: RuntimeId;

beforeAll(async () => {
  id = await subject.started(subject.script("while :; do sleep 1; done", { init: true }));
}, SET_UP_MS);

test("output that nobody reads is not fetched: its process stands still", async () => {
  await using exec = await subject.exec(id, ["sh", "-c", "echo $$; exec yes"]);
  const output = exec.output[Symbol.asyncIterator]();
  const pid = Number.parseInt(await readUntil(output, "\n"), 10);
  let written = 0;
  for (let before = -1; written !== before; ) {
    before = written;
    // Far longer than a process that is read takes to write on.
    await Bun.sleep(300);
    const { stdout } = await subject.run(id, ["grep", "wchar", `/proc/${pid}/io`]);
    written = Number.parseInt(stdout.replace("wchar: ", ""), 10);
    expect(written).toBeLessThan(STUCK_BYTES);
  }
  await exec.signal("KILL", soon());
}, 30_000);

test("100 MB of output pass through flat memory", async () => {
  const before = process.memoryUsage.rss();
  let peak = before;
  let read = 0;
  await using exec = await subject.exec(id, ["head", "-c", "100000000", "/dev/zero"]);
  for await (const { data } of exec.output) {
    read += data.length;
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  expect(read).toBe(100_000_000);
  expect(peak - before).toBeLessThan(FLAT_BYTES);
}, 60_000);

test("leaving output early gives back the connection", async () => {
  const before = descriptors();
  for (let turn = 0; turn < 10; turn++) {
    await using exec = await subject.exec(id, ["yes"]);
    for await (const _ of exec.output) break;
    for await (const _ of subject.logs(id, { follow: false })) break;
    await exec.signal("KILL", soon());
  }
  await released(before);
});

test("streams that are open leave room for calls, and are given back when they abort", async () => {
  const before = descriptors();
  const aborting = new AbortController();
  const watches = Array.from({ length: 100 }, () =>
    subject.runtime.watch(subject.label, aborting.signal)[Symbol.asyncIterator](),
  );
  for (const watch of watches) await watch.next();
  expect((await subject.facts(id)).state).toBe("running");
  const ends = watches.map((watch) => failure(watch.next()));
  aborting.abort();
  for (const end of ends) expect((await end).kind).toBe("cancelled");
  await released(before);
}, 60_000);

test("thirty execs after one another leave nothing behind", async () => {
  await all((await subject.exec(id, ["true"])).output);
  const before = descriptors();
  for (let turn = 0; turn < 30; turn++) {
    await using exec = await subject.exec(id, ["true"], { stdin: turn % 2 === 0 });
    await all(exec.output);
    expect(await exec.outcome(soon())).toEqual({ kind: "exited", code: 0 });
  }
  await released(before);
}, 60_000);

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Waits for sockets to close; idle connections of the agent may stay. */
async function released(before: number): Promise<void> {
  // The kernel tells nobody.
  for (let tries = 0; tries < 200 && descriptors() > before + 16; tries++) await Bun.sleep(10);
  expect(descriptors()).toBeLessThanOrEqual(before + 16);
}
