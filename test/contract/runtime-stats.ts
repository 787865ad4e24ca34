import { expect, test } from "bun:test";
import type { LimitSpec, RuntimeId } from "../../src/runtime/runtime.ts";
import { failure, type Subject, soon } from "./runtime-subject.ts";

const LIMITED: LimitSpec = {
  nanoCpu: 0n,
  memoryBytes: 16_777_216n,
  memorySwapBytes: 16_777_216n,
  pids: 20n,
};
const FOREVER = "while true; do sleep 0.01; done";
/** Reads a line without an end. */
const HUNGRY = "tail /dev/zero";

export function statsContract(subject: Subject): void {
  test("stats() says what a container uses, and its counters go on from reading to reading", async () => {
    const id = await subject.started(subject.script(FOREVER, { limits: LIMITED }));
    const first = await subject.runtime.stats(id, soon());
    expect(first).toMatchObject({ memoryLimitBytes: 16_777_216, pidsLimit: 20, networkRxBytes: 0 });
    expect(first.memoryBytes).toBeGreaterThan(0);
    expect(first.memoryBytes).toBeLessThanOrEqual(16_777_216);
    expect(first.pids).toBeGreaterThanOrEqual(1);
    let next = await subject.runtime.stats(id, soon());
    while (next.cpuNs === first.cpuNs) next = await subject.runtime.stats(id, soon());
    expect(next.cpuNs).toBeGreaterThan(first.cpuNs);
    expect(next.at).toBeGreaterThan(first.at);
    expect(next.at).toBeGreaterThan((await subject.facts(id)).startedAt ?? Number.NaN);
    await subject.runtime.pause(id, soon());
    expect((await subject.runtime.stats(id, soon())).memoryBytes).toBeGreaterThan(0);
    await subject.runtime.remove(id, soon());
  });

  test("stats() of a container that does not run is FAILED_PRECONDITION, of none NOT_FOUND", async () => {
    const { runtime } = subject;
    const ended = await subject.ran(subject.script("true"));
    for (const id of [ended, await subject.created(subject.script("true"))]) {
      const refused = await failure(runtime.stats(id, soon()));
      expect(refused.kind).toBe("failed_precondition");
      expect(refused.message).toStartWith(`Cannot measure container "${id.slice(0, 12)}": `);
    }
    const nobody = "f".repeat(64) as RuntimeId; // as: an id of the right form
    const unknown = await failure(runtime.stats(nobody, soon()));
    expect(unknown.kind).toBe("not_found");
    expect(unknown.message).toMatch(/^Cannot measure container "f{12}": \S/);
    const gone = AbortSignal.abort();
    expect((await failure(runtime.stats(ended, gone))).kind).toBe("cancelled");
  });

  test("a process that wants more memory than there is ends with 137, and watch() and the facts tell why", async () => {
    const spec = subject.script(HUNGRY, { command: ["tail"], args: ["/dev/zero"], limits: LIMITED });
    const id = await subject.created(spec);
    await using watch = await subject.watching(subject.label);
    await subject.runtime.start(id, soon());
    const { tellsOom } = await subject.capabilities();
    if (tellsOom) await watch.until((change) => change.id === id && change.action === "oom");
    await subject.text(id, { follow: true });
    expect(await subject.facts(id)).toMatchObject({
      state: "exited",
      exitCode: 137,
      oomKilled: tellsOom || expect.any(Boolean),
    });
  });

  test("so it is of another process than the main one, a command's too", async () => {
    // Engines hear of it from the kernel, by another way than of the end, which must not come first.
    const child = await subject.ran(subject.script(`${HUNGRY}; sleep 1; exit 3`, { limits: LIMITED }));
    const { tellsOom } = await subject.capabilities();
    expect(await subject.facts(child)).toMatchObject({
      exitCode: 3,
      oomKilled: tellsOom || expect.any(Boolean),
    });
    const id = await subject.started(subject.script(FOREVER, { limits: LIMITED }));
    await using watch = await subject.watching(subject.label);
    expect((await subject.run(id, ["tail", "/dev/zero"])).outcome).toEqual({ kind: "exited", code: 137 });
    if (tellsOom) await watch.until((change) => change.id === id && change.action === "oom");
    await subject.runtime.remove(id, soon());
  });

  test("a container that is killed has not run out of memory", async () => {
    const id = await subject.started(subject.script(FOREVER, { limits: LIMITED }));
    await subject.runtime.kill(id, { signalName: "KILL" }, soon());
    await subject.text(id, { follow: true });
    expect(await subject.facts(id)).toMatchObject({ state: "exited", exitCode: 137, oomKilled: false });
  });
}
