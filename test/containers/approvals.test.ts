import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { type DomainSubject, domainSubject } from "./domain-subject.ts";
import { GatedRuntime } from "./gated-runtime.ts";

const asks = { policy: { requireApproval: true } };

describe("create() in a session with require_approval", () => {
  test("stores a container that waits, tells of it, and asks nothing of the engine", async () => {
    await using subject = await domainSubject();
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    const before = new Map(subject.runtime.calls);
    const sessionId = await subject.session({ ...asks, maxContainers: 2, limits: { pidsLimit: 10n } });
    const limits = { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 6n };
    const container = await subject.create(sessionId, { limits });
    expect(container.life).toEqual({ state: "waiting", pull: "missing" });
    const view = await subject.containers.get(container.id);
    expect(view.known.kind).toBe("yes");
    expect(subject.runtime.calls.get("create")).toBe(before.get("create"));
    expect(await subject.events("approval_requested")).toMatchObject([
      { sessionId, containerId: container.id, priority: "high", data: { image: "demo:1" } },
    ]);
    // It counts: against the number, against the sum.
    const more = await thrown(() => subject.create(sessionId, { limits }));
    expect(more).toMatchObject({ kind: "resource_exhausted", details: { reason: "SESSION_LIMIT_REACHED" } });
    await subject.create(sessionId, { limits: { ...limits, pidsLimit: 4n } });
    const third = await thrown(() => subject.create(sessionId));
    expect(third.details.reason).toBe("TOO_MANY_CONTAINERS");
    expect(await subject.containers.count()).toBe(2);
  });

  test("with an idempotency key gives the one that waits again", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(asks);
    const first = await subject.create(sessionId, {}, { key: "k" });
    expect(await subject.create(sessionId, {}, { key: "k" })).toEqual(first);
    expect(await subject.rows()).toHaveLength(1);
  });

  test("of what policy refuses is refused at once", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(asks);
    expect((await thrown(() => subject.create(sessionId, { networkMode: "host" }))).kind).toBe(
      "permission_denied",
    );
    expect(await subject.rows()).toEqual([]);
  });
});

describe("approve()", () => {
  test("makes and starts it, tells by whom, and is no error the second time", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(asks), { image: "far:1" });
    const approved = await subject.approvals.approve(id, subject.call());
    expect(approved).toMatchObject({ id, approvedBy: "uid:1", life: { state: "running" } });
    expect(await subject.approvals.approve(id, subject.call())).toMatchObject({ life: { state: "running" } });
    expect(await subject.engineNames()).toEqual([`baaaht-${id}`]);
    const told = await subject.events(
      "approval_requested",
      "approval_given",
      "container_created",
      "container_started",
    );
    expect(told.map(({ type }) => type)).toEqual([
      "approval_requested",
      "approval_given",
      "container_created",
      "container_started",
    ]);
    expect(told[1]).toMatchObject({ actor: "uid:1", containerId: id });
  });

  test("of a container that did not have to wait is FAILED_PRECONDITION, of none NOT_FOUND", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session());
    for (const act of [
      () => subject.approvals.approve(id, subject.call()),
      () => subject.approvals.reject(id, { reason: "" }, subject.call()),
    ]) {
      expect(await thrown(act)).toMatchObject({
        kind: "failed_precondition",
        details: { reason: "CONTAINER_NOT_WAITING", metadata: { state: "running" } },
      });
    }
    await subject.containers.remove(id, { how: "force" }, subject.call());
    expect((await thrown(() => subject.approvals.approve(id, subject.call()))).kind).toBe("not_found");
    expect((await thrown(() => subject.approvals.reject(id, { reason: "" }, subject.call()))).kind).toBe(
      "not_found",
    );
  });

  test("goes by what the session allows then; what it refuses goes on waiting, and is in the log", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session({ policy: { requireApproval: true, allowNetwork: true } });
    const { id } = await subject.create(sessionId);
    const policy = { ...subject.config().policy, requireApproval: true };
    const close = (session: Parameters<Parameters<typeof subject.sessions.update>[1]>[0]) => ({
      ...session,
      config: { ...session.config, policy },
    });
    await subject.sessions.update(sessionId, close, subject.call());
    expect((await thrown(() => subject.approvals.approve(id, subject.call()))).kind).toBe(
      "permission_denied",
    );
    expect((await subject.row(id))?.life.state).toBe("waiting");
    expect(await subject.events("policy_violation")).toMatchObject([
      { data: { field: "config.network_mode" } },
    ]);
  });

  test("without an engine is UNAVAILABLE, and it goes on waiting", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(asks));
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    expect((await thrown(() => subject.approvals.approve(id, subject.call()))).kind).toBe("unavailable");
    await subject.runtime.comeUp();
    await subject.engine("up");
    expect((await subject.approvals.approve(id, subject.call())).life.state).toBe("running");
  });

  test("of what can't be made leaves nothing of it", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(asks);
    const { id } = await subject.create(sessionId);
    subject.runtime.failNext("start", new Failure("failed_precondition", "Cannot do it: the engine says no"));
    expect((await thrown(() => subject.approvals.approve(id, subject.call()))).message).toContain(
      "the engine says no",
    );
    expect(await subject.rows()).toEqual([]);
    const session = await subject.sessions.get(sessionId);
    expect([session.containerIds, session.holdings]).toEqual([[], undefined]);
    expect(await subject.engineNames()).toEqual([]);
  });
});

describe("reject()", () => {
  test("removes it, with the reason in the log, and whoever waits for it hears of that", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(asks);
    const { id } = await subject.create(sessionId, { name: "web" });
    const ended = subject.containers.wait(id, subject.call());
    await subject.approvals.reject(id, { reason: "not today" }, subject.call());
    expect(await ended).toEqual({ kind: "removed", id, reason: "it was rejected: not today" });
    expect(await subject.events("approval_refused", "container_removed")).toMatchObject([
      { type: "approval_refused", containerId: id, actor: "uid:1", data: { reason: "not today" } },
      { type: "container_removed", containerId: id, data: { reason: "it was rejected: not today" } },
    ]);
    expect(await subject.rows()).toEqual([]);
    expect(await subject.containers.count()).toBe(0);
    const session = await subject.sessions.get(sessionId);
    expect([session.containerIds, session.holdings]).toEqual([[], undefined]);
    expect((await thrown(() => subject.approvals.approve(id, subject.call()))).kind).toBe("not_found");
  });

  test("with a reason that is too long is INVALID_ARGUMENT", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(asks));
    const reason = "x".repeat(1_025);
    expect(await thrown(() => subject.approvals.reject(id, { reason }, subject.call()))).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "reason" }] },
    });
    expect(await subject.rows()).toHaveLength(1);
  });
});

describe("a container that waits", () => {
  test("can't be stopped, run commands or be read, and can be removed", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(asks));
    for (const act of [
      () => subject.containers.stop(id, {}, subject.call()),
      () => subject.pausing.pause(id, subject.call()),
      () => subject.containers.logs(id, options, subject.call()),
    ]) {
      expect(await thrown(act)).toMatchObject({
        kind: "failed_precondition",
        details: { reason: "CONTAINER_WAITS" },
      });
    }
    await subject.containers.remove(id, { how: "stopped_only" }, subject.call());
    expect(await subject.rows()).toEqual([]);
  });

  test("ends with its session", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session(asks);
    await subject.create(sessionId);
    const closed = await subject.sessions.close(sessionId, { reason: "done" }, subject.call());
    expect(closed.life.state).toBe("closed");
    expect(await subject.events("container_removed")).toMatchObject([
      { data: { reason: "its session was closed" } },
    ]);
    expect(await subject.rows()).toEqual([]);
  });

  test("waits on when the server or the engine starts anew, and can be approved and rejected then", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"] });
    await using first = await domainSubject({ runtime });
    const sessionId = await first.session(asks);
    const [one, two] = [await first.create(sessionId), await first.create(sessionId)];
    await using second = await restarted(first, runtime);
    expect((await second.rows()).map(({ life }) => life.state)).toEqual(["waiting", "waiting"]);
    runtime.loseWatches();
    await second.engine("lost");
    await second.engine("up");
    expect((await second.approvals.approve(one.id, second.call())).life.state).toBe("running");
    await second.approvals.reject(two.id, { reason: "" }, second.call());
    expect((await second.rows()).map(({ id }) => id)).toEqual([one.id]);
  });
});

const options = { follow: false, timestamps: false, stdout: true, stderr: true };

/** Another server's domain over the folder that the first has left. */
async function restarted(first: DomainSubject, runtime: GatedRuntime): Promise<DomainSubject> {
  await first.store[Symbol.asyncDispose]();
  return await domainSubject({ runtime, folder: first.folder });
}
