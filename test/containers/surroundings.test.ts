import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { type DomainSubject, domainSubject } from "./domain-subject.ts";
import { GatedRuntime } from "./gated-runtime.ts";

const open = { policy: { allowNetwork: true, allowVolumeMount: true } };
const cache = [{ type: "volume", source: "cache", target: "/cache", readOnly: false }] as const;

describe("a session's network and volumes", () => {
  test("are made once, also by containers that are made at once, with labels that tell whose they are", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(open);
    await Promise.all(Array.from({ length: 5 }, () => subject.create(sessionId, { mounts: cache })));
    const labels = { "baaaht.install": subject.store.install, "baaaht.session": sessionId };
    expect(await networks(subject)).toEqual([{ name: `baaaht-${sessionId}`, labels }]);
    expect(await volumes(subject)).toEqual([{ name: `baaaht-${sessionId}-cache`, labels }]);
  });

  test("go when it closes, also when its containers have gone before", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(open);
    const { id } = await subject.create(sessionId, { mounts: cache });
    await subject.containers.remove(id, { how: "force" }, subject.call());
    expect(await networks(subject)).toHaveLength(1);
    const closed = await subject.sessions.close(sessionId, { reason: "" }, subject.call());
    expect(closed).toMatchObject({ life: { state: "closed" } });
    expect([await networks(subject), await volumes(subject)]).toEqual([[], []]);
  });

  test("keep a session closing while the engine is lost, and go when it is back", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(open);
    const { id } = await subject.create(sessionId, { mounts: cache });
    await subject.containers.remove(id, { how: "force" }, subject.call());
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    const closing = await subject.sessions.close(sessionId, { reason: "" }, subject.call());
    expect(closing.life.state).toBe("closing");
    await subject.runtime.comeUp();
    await subject.event("session_closed");
    expect([await networks(subject), await volumes(subject)]).toEqual([[], []]);
  });

  test("are removed at the next start when no session knows them, and others are left alone", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"] });
    await using first = await domainSubject({ runtime });
    const sessionId = await first.session(open);
    await first.create(sessionId, { mounts: cache });
    const ours = { "baaaht.install": first.store.install, "baaaht.session": Bun.randomUUIDv7() };
    const theirs = { ...ours, "baaaht.install": Bun.randomUUIDv7() };
    const { signal } = first.call();
    for (const [name, labels] of [
      ["lost", ours],
      ["theirs", theirs],
      ["nobodys", {}],
    ] as const) {
      await runtime.networks.create({ name, labels }, signal);
      await runtime.volumes.create({ name, labels }, signal);
    }
    runtime.loseWatches();
    await first.engine("lost");
    await first.engine("up");
    const left = [`baaaht-${sessionId}`, "theirs", "nobodys"].toSorted();
    expect((await networks(first)).map(({ name }) => name).toSorted()).toEqual(left);
    expect((await volumes(first)).map(({ name }) => name).toSorted()).toEqual(
      [`baaaht-${sessionId}-cache`, "theirs", "nobodys"].toSorted(),
    );
  });

  test("are refused with a reason where the engine has no addresses left, and nothing is left behind", async () => {
    await using subject = await domainSubject();
    subject.runtime.networks.most = 0;
    const sessionId = await subject.session(open);
    expect(await thrown(() => subject.create(sessionId))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "NETWORKS_EXHAUSTED" },
    });
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
  });

  test("are bounded: a name more than the server allows is RESOURCE_EXHAUSTED", async () => {
    await using subject = await domainSubject({ limits: { BAAAHT_RUNTIME_MAX_VOLUMES: "2" } });
    const sessionId = await subject.session(open);
    const of = (source: string) => ({ mounts: [{ ...cache[0], source }] });
    await subject.create(sessionId, of("a"));
    await subject.create(sessionId, of("b"));
    expect(await thrown(() => subject.create(sessionId, of("c")))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_VOLUMES", metadata: { limit: "2" } },
    });
    await subject.create(sessionId, of("a"));
    await subject.create(sessionId, of(""));
  });
});

describe("create() with a path of the host", () => {
  const mounts = [{ type: "bind", source: "/tmp/x", target: "/x", readOnly: false }] as const;
  const policy = { policy: { allowVolumeMount: true, allowedPaths: ["/tmp"] } };

  test("is refused where the engine is elsewhere, and says why", async () => {
    await using subject = await domainSubject();
    subject.runtime.host = { kind: "elsewhere" };
    const refused = await thrown(async () => subject.create(await subject.session(policy), { mounts }));
    expect(refused).toMatchObject({ kind: "permission_denied", details: { reason: "POLICY_VIOLATION" } });
    expect(refused.message).toContain("fake://engine");
    expect(refused.message).toContain("another machine");
  });

  test("is refused where the server's own bound does not have it", async () => {
    await using subject = await domainSubject({ limits: { BAAAHT_RUNTIME_ALLOWED_PATHS: "/srv:/data" } });
    const refused = await thrown(async () => subject.create(await subject.session(policy), { mounts }));
    expect(refused.message).toContain("runtime.allowed-paths");
  });
});

describe("refused containers", () => {
  test("change nothing but the log, which has an event for each field, up to a bound", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const before = await subject.sessions.get(sessionId);
    const mounts = Array.from({ length: 40 }, (_, n) => ({ ...cache[0], target: `/m${n}` }));
    const failure = await thrown(() => subject.create(sessionId, { mounts }, { key: "k" }));
    expect(failure.details.violations).toHaveLength(40);
    const events = await subject.events("policy_violation");
    expect(events).toHaveLength(32);
    expect(events[0]).toMatchObject({
      sessionId,
      source: "orchestrator.grpc",
      actor: "uid:1",
      priority: "high",
      labels: { team: "blue" },
      data: { field: "config.mounts[0]", image: "demo:1" },
    });
    expect(events.at(-1)?.data?.more).toBe("8");
    expect(await subject.sessions.get(sessionId)).toEqual(before);
    expect(await subject.rows()).toEqual([]);
    // The key is not used up.
    expect((await subject.create(sessionId, {}, { key: "k" })).life.state).toBe("running");
  });
});

describe("a session's sum", () => {
  test("is back at nothing when its containers are gone, however they went", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session({ limits: { memoryBytes: 1n << 30n, pidsLimit: 1_000n } });
    const [one, two] = [await subject.create(sessionId, { name: "one" }), await subject.create(sessionId)];
    expect((await subject.sessions.get(sessionId)).holdings).toMatchObject({
      limits: { pidsLimit: 512n, memoryBytes: 1n << 30n },
      names: { one: one.id },
    });
    subject.runtime.failNext("start", new Failure("failed_precondition", "Cannot do it: no"));
    const limits = { nanoCpu: 1n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 1n };
    expect((await thrown(() => subject.create(sessionId, { limits }))).details.reason).toBe(
      "SESSION_LIMIT_REACHED",
    );
    await subject.containers.remove(one.id, { how: "force" }, subject.call());
    await thrown(() => subject.create(sessionId, { name: "one" }));
    const [facts] = await subject.runtime.list({}, subject.call().signal);
    if (facts !== undefined) await subject.runtime.remove(facts.id, subject.call().signal);
    await subject.event("container_removed", ({ containerId }) => containerId === two.id);
    expect((await subject.sessions.get(sessionId)).holdings).toBeUndefined();
  });
});

async function networks(subject: DomainSubject) {
  return await subject.runtime.networks.list({}, subject.call().signal);
}

async function volumes(subject: DomainSubject) {
  return await subject.runtime.volumes.list({}, subject.call().signal);
}
