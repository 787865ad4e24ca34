import { describe, expect, test } from "bun:test";
import { type ContainerId, engineName } from "../../src/containers/container.ts";
import type { Usage } from "../../src/containers/usage.ts";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { type DomainSubject, domainSubject, POLITE } from "./domain-subject.ts";

const NEVER = { limits: { BAAAHT_RUNTIME_STATS_INTERVAL: "0" } };
const OFTEN = { limits: { BAAAHT_RUNTIME_STATS_INTERVAL: "1s" } };
const LIMITED = { limits: { nanoCpu: 0n, memoryBytes: 100_000_000n, memorySwap: 0n, pidsLimit: 100n } };

async function stream(
  subject: DomainSubject,
  id: ContainerId,
  signal?: AbortSignal,
): Promise<AsyncIterator<Usage>> {
  return (await subject.stats.stream(id, 100, subject.call(signal)))[Symbol.asyncIterator]();
}

describe("stream()", () => {
  test("reads at once and then again, until the container ends", async () => {
    await using subject = await domainSubject(NEVER);
    const { id } = await subject.create(await subject.session(), { command: POLITE, ...LIMITED });
    const usages = await stream(subject, id);
    const first = (await usages.next()).value;
    expect(first).toMatchObject({ memoryBytes: 1_048_576, memoryLimitBytes: 100_000_000, pids: 1 });
    const second = (await usages.next()).value;
    expect(second?.at).toBeGreaterThan(first?.at ?? Number.NaN);
    expect(second?.cpuPercent).toBeCloseTo(10, 5); // what the engine in memory says
    await subject.containers.stop(id, {}, subject.call());
    expect((await usages.next()).done).toBe(true);
    expect((await subject.containers.get(id)).usage?.at).toBe(second?.at ?? Number.NaN);
  });

  test("ends when its container is removed, and its signal ends it", async () => {
    await using subject = await domainSubject(NEVER);
    const { followers } = subject.log;
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId);
    const usages = await stream(subject, id);
    await usages.next();
    await subject.containers.remove(id, { how: "force" }, subject.call());
    expect((await usages.next()).done).toBe(true);
    const ending = new AbortController();
    const cut = await stream(subject, (await subject.create(sessionId)).id, ending.signal);
    await cut.next();
    ending.abort();
    expect((await cut.next()).done).toBe(true);
    expect(subject.log.followers).toBe(followers);
  });

  test("of what does not run is FAILED_PRECONDITION, of nobody NOT_FOUND, of an engine that is gone UNAVAILABLE", async () => {
    await using subject = await domainSubject(NEVER);
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId, { command: POLITE });
    const live = await subject.create(sessionId);
    await subject.containers.stop(id, {}, subject.call());
    expect(await thrown(() => stream(subject, id))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "CONTAINER_NOT_RUNNING", metadata: { state: "exited" } },
    });
    const nobody = await thrown(() => stream(subject, "nobody" as ContainerId)); // any text may be one
    expect(nobody.details.reason).toBe("CONTAINER_NOT_FOUND");
    const usages = await stream(subject, live.id);
    await usages.next();
    subject.runtime.failNext("stats", new Failure("unavailable", "Cannot measure: it hung up"));
    expect((await thrown(() => usages.next())).kind).toBe("unavailable");
  });

  test("refuses more at once than there may be, and takes one again when another has ended", async () => {
    const limits = { ...NEVER.limits, BAAAHT_RUNTIME_MAX_STATS_STREAMS: "1" };
    await using subject = await domainSubject({ limits });
    const { id } = await subject.create(await subject.session());
    const only = await stream(subject, id);
    await only.next();
    const refused = await thrown(() => stream(subject, id));
    expect(refused).toMatchObject({ kind: "resource_exhausted", details: { reason: "TOO_MANY_STATS" } });
    await only.return?.();
    await (await stream(subject, id)).next();
  });
});

describe("run()", () => {
  test("measures what runs, for the container and, summed up, for its session", async () => {
    await using subject = await domainSubject(OFTEN);
    const sessionId = await subject.session();
    const one = await subject.create(sessionId, LIMITED);
    const two = await subject.create(sessionId, { command: POLITE, ...LIMITED });
    for (const { id } of [one, two]) {
      while ((await subject.containers.get(id)).usage === undefined) await Bun.sleep(5); // nobody tells of readings
    }
    expect(subject.readings.live([one.id, two.id])).toHaveLength(2);
    await subject.containers.stop(two.id, {}, subject.call());
    await subject.event("container_stopped");
    while (subject.readings.live([one.id, two.id]).length > 1) await Bun.sleep(5); // the link looks at it by itself
    expect((await subject.containers.get(two.id)).usage?.pids).toBe(1);
    await subject.containers.remove(two.id, { how: "force" }, subject.call());
    expect(subject.readings.usage(two.id)).toBeUndefined();
  });

  test("tells once of a mark that is reached, and says which", async () => {
    await using subject = await domainSubject({
      limits: { ...OFTEN.limits, BAAAHT_RUNTIME_THRESHOLD_PERCENTS: "50,90" },
    });
    const { id } = await subject.create(await subject.session(), LIMITED);
    subject.runtime.use(engineName(id), { memoryBytes: 60_000_000, pids: 95 });
    await subject.event("resource_threshold", ({ data }) => data?.mark === "90");
    const usages = await stream(subject, id);
    await usages.next();
    await usages.next();
    const events = await subject.events("resource_threshold");
    expect(events).toMatchObject([
      {
        source: "containers",
        priority: "high",
        containerId: id,
        labels: { team: "blue" },
        data: { resource: "memory", mark: "50", percent: "60.0", usage: "60000000", limit: "100000000" },
      },
      { data: { resource: "pids", mark: "50" } },
      { data: { resource: "pids", mark: "90", percent: "95.0", usage: "95", limit: "100" } },
    ]);
    expect(events).toHaveLength(3);
  });

  test("asks an engine in memory about many containers, a few at a time, and goes on after a failure", async () => {
    await using subject = await domainSubject(OFTEN);
    const sessionId = await subject.session({ maxContainers: 100 });
    const made = await Promise.all(Array.from({ length: 40 }, () => subject.create(sessionId)));
    subject.runtime.failNext("stats", new Failure("unavailable", "Cannot measure: not now"));
    for (const { id } of made) {
      while (subject.readings.usage(id) === undefined) await Bun.sleep(5); // nobody tells of readings
    }
    expect(subject.words.filter((line) => line.includes("error"))).toEqual([]);
  }, 20_000);
});
