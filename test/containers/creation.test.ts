import { describe, expect, test } from "bun:test";
import type { ContainerId } from "../../src/containers/container.ts";
import { Failure } from "../../src/failure.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { answerTable } from "../../src/store/answers.ts";
import { thrown } from "../client/thrown.ts";
import { type DomainSubject, domainSubject } from "./domain-subject.ts";

const refused = new Failure("failed_precondition", "Cannot do it: the engine says no");
/** What its caller hears of it, said of our container. */
const refusedHere = {
  kind: "failed_precondition",
  message: expect.stringMatching(/^Cannot create container "[^"]*" of image "demo:1": the engine says no$/),
};

describe("create()", () => {
  test("has its intent in the store, and in the session, before the engine is asked", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const gate = subject.runtime.hold("create", "before");
    const creating = subject.create(sessionId);
    await gate.reached;
    const [row] = await subject.rows();
    expect(row?.life).toEqual({ state: "creating" });
    expect((await subject.sessions.get(sessionId)).containerIds).toEqual([row?.id ?? ""]);
    expect(await subject.containers.count()).toBe(1);
    expect(await subject.engineNames()).toEqual([]);
    gate.release();
    expect((await creating).id).toBe(row?.id as ContainerId); // as: it is there, by the lines before
  });

  test("tells its two steps, with who did it, and ends with what the engine says", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const container = await subject.create(sessionId, { labels: { a: "1" } });
    expect(container).toMatchObject({ name: `baaaht-${container.id}`, life: { state: "running" } });
    const events = await subject.events("container_created", "container_started");
    expect(events.map(({ type }) => type)).toEqual(["container_created", "container_started"]);
    for (const event of events) {
      expect(event).toMatchObject({
        source: "orchestrator.grpc",
        actor: "uid:1",
        correlationId: "test",
        sessionId,
        containerId: container.id,
        labels: { team: "blue" },
      });
    }
    const [facts] = await subject.runtime.list({}, subject.call().signal);
    expect(facts?.labels).toEqual({
      a: "1",
      "baaaht.install": subject.store.install,
      "baaaht.session": sessionId,
      "baaaht.container": container.id,
    });
  });

  test.each(["create", "start", "inspect"] as const)("leaves nothing behind when %s fails", async (step) => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    subject.runtime.failNext(step, refused);
    const failure = await thrown(() => subject.create(sessionId, {}, { key: "k" }));
    expect(failure).toMatchObject(refusedHere);
    await expectNothingLeft(subject, sessionId);
    expect(await subject.events("container_error")).toMatchObject([
      { sessionId, source: "orchestrator.grpc", priority: "high", data: { reason: refused.message } },
    ]);
  });

  test.each(["create", "start", "inspect"] as const)(
    "leaves nothing behind when its caller gives up during %s, before or after the engine did it",
    async (step) => {
      for (const side of ["before", "after"] as const) {
        await using subject = await domainSubject();
        const sessionId = await subject.session();
        const gate = subject.runtime.hold(step, side);
        const caller = new AbortController();
        const creating = thrown(() => subject.create(sessionId, {}, { key: "k", signal: caller.signal }));
        await gate.reached;
        caller.abort();
        expect((await creating).kind).toBe("cancelled");
        await expectNothingLeft(subject, sessionId);
        expect(await subject.events("container_error")).toHaveLength(1);
      }
    },
  );

  test.each(["create", "start", "inspect"] as const)(
    "is cleared away when the engine is back that was lost during %s",
    async (step) => {
      await using subject = await domainSubject();
      const sessionId = await subject.session();
      const gate = subject.runtime.hold(step, "after");
      const creating = thrown(() => subject.create(sessionId, {}, { key: "k" }));
      await gate.reached;
      subject.runtime.goDown("it was turned off");
      gate.release();
      // Where the engine had done all, only the undoing finds that it is lost.
      const failure = await Promise.race([creating, subject.engine("lost").then(() => undefined)]);
      if (failure !== undefined) expect(failure.kind).toBe("unavailable");
      await creating.catch(() => {});
      await subject.runtime.comeUp();
      await subject.engine("up");
      if (step === "inspect") {
        const [row] = await subject.rows();
        expect(row?.life.state).toBe("running");
        return;
      }
      await expectNothingLeft(subject, sessionId);
      expect(await subject.events("container_error")).toHaveLength(1);
    },
  );

  test("without an engine is UNAVAILABLE, says why, and writes nothing", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session({ maxContainers: 1 });
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const failure = await thrown(() => subject.create(sessionId));
      expect(failure.kind).toBe("unavailable");
      expect(failure.message).toContain("fake://engine");
      expect(failure.message).toContain("it was turned off");
    }
    await expectNothingLeft(subject, sessionId);
    await subject.runtime.comeUp();
    expect((await subject.create(sessionId)).life.state).toBe("running");
  });

  test("whose remains can't be removed at once is cleared away soon after", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    subject.runtime.failNext("start", refused);
    subject.runtime.fail("remove", new Failure("failed_precondition", "Cannot remove: device is busy"));
    expect(await thrown(() => subject.create(sessionId))).toMatchObject(refusedHere);
    expect(await subject.engineNames()).toHaveLength(1);
    subject.runtime.mend("remove");
    await subject.event("container_error");
    await expectNothingLeft(subject, sessionId);
  });

  test("pulls an image only as it is told to", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const pulls = () => subject.runtime.calls.get("pull") ?? 0;
    const never = await thrown(() => subject.create(sessionId, { image: "far:1" }, { pull: "never" }));
    expect(never.kind).toBe("not_found");
    expect(never.message).toContain("far:1");
    expect(pulls()).toBe(0);
    await subject.create(sessionId, { image: "far:1" });
    expect(pulls()).toBe(1);
    await subject.create(sessionId, { image: "far:1" });
    expect(pulls()).toBe(1);
    await subject.create(sessionId, { image: "far:1" }, { pull: "always" });
    expect(pulls()).toBe(2);
    for (const pull of ["missing", "always"] as const) {
      const nowhere = await thrown(() => subject.create(sessionId, { image: "nowhere:1" }, { pull }));
      expect(nowhere.kind).toBe("not_found");
      expect(nowhere.message).toContain("nowhere:1");
    }
    expect(await subject.containers.count()).toBe(3);
  });

  test("whose caller gives up during the pull leaves nothing behind", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const gate = subject.runtime.hold("pull", "after");
    const caller = new AbortController();
    const creating = thrown(() => subject.create(sessionId, { image: "far:1" }, { signal: caller.signal }));
    await gate.reached;
    caller.abort();
    expect((await creating).kind).toBe("cancelled");
    await expectNothingLeft(subject, sessionId);
  });

  test("that the server never records is removed by the watch, however late the engine makes it", async () => {
    await using subject = await domainSubject();
    const id = Bun.randomUUIDv7();
    const labels = { "baaaht.install": subject.store.install, "baaaht.container": id };
    await subject.foreign({ name: `baaaht-${id}`, labels });
    await gone(subject, `baaaht-${id}`);
  });

  test("in a session that is not there or is closed is refused", async () => {
    await using subject = await domainSubject();
    const nobody = Bun.randomUUIDv7() as SessionId; // as: of the form of an id
    expect((await thrown(() => subject.create(nobody))).kind).toBe("not_found");
    const sessionId = await subject.session();
    await subject.sessions.close(sessionId, { reason: "" }, subject.call());
    expect((await thrown(() => subject.create(sessionId))).kind).toBe("failed_precondition");
    expect(await subject.rows()).toEqual([]);
  });
});

describe("create() with an idempotency key", () => {
  test("gives the same container again, in a row and at once", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const first = await subject.create(sessionId, {}, { key: "k" });
    const more = await Promise.all(
      Array.from({ length: 20 }, () => subject.create(sessionId, {}, { key: "k" })),
    );
    expect(new Set(more.map(({ id }) => id))).toEqual(new Set([first.id]));
    const together = await Promise.all(
      Array.from({ length: 20 }, () => subject.create(sessionId, {}, { key: "together" })),
    );
    expect(new Set(together.map(({ id }) => id)).size).toBe(1);
    expect(together.every(({ life }) => life.state === "running")).toBe(true);
    expect(subject.runtime.calls.get("create")).toBe(2);
  });

  test("with other content, or another pull, is ALREADY_EXISTS", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await subject.create(sessionId, {}, { key: "k" });
    const other = await thrown(() => subject.create(sessionId, { env: { A: "1" } }, { key: "k" }));
    expect(other).toMatchObject({ kind: "already_exists", details: { reason: "IDEMPOTENCY_KEY_REUSED" } });
    expect((await thrown(() => subject.create(sessionId, {}, { key: "k", pull: "always" }))).kind).toBe(
      "already_exists",
    );
    const elsewhere = await subject.session();
    expect((await subject.create(elsewhere, {}, { key: "k" })).sessionId).toBe(elsewhere);
  });

  test("may be sent again after it has failed", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    subject.runtime.failNext("start", refused);
    expect(await thrown(() => subject.create(sessionId, {}, { key: "k" }))).toMatchObject(refusedHere);
    expect((await subject.create(sessionId, {}, { key: "k" })).life.state).toBe("running");
  });

  test("that is sent again while the first is given up makes one anew", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const gate = subject.runtime.hold("start", "after");
    const caller = new AbortController();
    const first = thrown(() => subject.create(sessionId, {}, { key: "k", signal: caller.signal }));
    await gate.reached;
    const again = subject.create(sessionId, {}, { key: "k" });
    caller.abort();
    expect((await first).kind).toBe("cancelled");
    const container = await again;
    expect(container.life.state).toBe("running");
    expect(await subject.engineNames()).toEqual([container.name]);
  });

  test("whose container was removed since is ABORTED, and not made a second time", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId, {}, { key: "k" });
    await subject.containers.remove(id, { how: "force" }, subject.call());
    expect((await thrown(() => subject.create(sessionId, {}, { key: "k" }))).kind).toBe("aborted");
    expect(await subject.rows()).toEqual([]);
  });
});

describe("the bounds on containers", () => {
  test("max_containers holds exactly under 50 calls at once, and makes room again", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session({ maxContainers: 7 });
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => subject.create(sessionId)));
    const made = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    expect(made).toHaveLength(7);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected")
        expect(outcome.reason).toMatchObject({
          kind: "resource_exhausted",
          details: { reason: "TOO_MANY_CONTAINERS", metadata: { limit: "7" } },
        });
    }
    expect(await subject.engineNames()).toHaveLength(7);
    const [first] = made;
    await subject.containers.remove(first?.id as ContainerId, { how: "force" }, subject.call()); // as: there are 7
    await subject.create(sessionId);
    expect((await thrown(() => subject.create(sessionId))).kind).toBe("resource_exhausted");
  });

  test("the server's bound holds over all sessions", async () => {
    await using subject = await domainSubject({ limits: { BAAAHT_RUNTIME_MAX_CONTAINERS: "3" } });
    const sessions = await Promise.all([subject.session(), subject.session()]);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => subject.create(sessions[n % 2] as SessionId)), // as: there are two
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect(await subject.containers.count()).toBe(3);
  });
});

async function expectNothingLeft(subject: DomainSubject, sessionId: SessionId): Promise<void> {
  expect(await subject.rows()).toEqual([]);
  expect((await subject.sessions.get(sessionId)).containerIds).toEqual([]);
  expect(await subject.containers.count()).toBe(0);
  expect(await subject.store.count(answerTable, {})).toBe(0);
  if (subject.containers.link.state.kind === "up") expect(await subject.engineNames()).toEqual([]);
}

/** Waits until the engine has no container of this name, asking only when something has happened there. */
async function gone(subject: DomainSubject, name: string): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  for await (const _ of subject.runtime.watch({}, signal)) {
    const found = await subject.runtime.list({}, signal);
    if (found.every((facts) => facts.name !== name)) return;
  }
}
