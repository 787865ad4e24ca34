import { describe, expect, test } from "bun:test";
import { engineName, isMade } from "../../src/containers/container.ts";
import { Failure } from "../../src/failure.ts";
import type { Session } from "../../src/sessions/session.ts";
import { thrown } from "../client/thrown.ts";
import { domainSubject, POLITE } from "./domain-subject.ts";
import { GatedRuntime } from "./gated-runtime.ts";

/** Never ends by SIGTERM. */
const STUBBORN = ["sh", "-c", "trap ':' TERM; while true; do sleep 0.01; done"];

describe("stop()", () => {
  test("ends a container, tells who did it, and is no error the second time", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId, { command: POLITE });
    const first = await subject.containers.stop(id, {}, subject.call());
    expect(first.container.life).toMatchObject({ state: "exited", exitCode: 7, oomKilled: false });
    await subject.containers.stop(id, {}, subject.call());
    expect(await subject.events("container_stopped")).toMatchObject([
      {
        source: "orchestrator.grpc",
        actor: "uid:1",
        data: { exit_code: "7", reason: "it was stopped by a call" },
      },
    ]);
  });

  test("kills after its grace what does not listen", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(), { command: STUBBORN });
    const { container } = await subject.containers.stop(id, { graceMs: 20 }, subject.call());
    expect(container.life).toMatchObject({ state: "exited", exitCode: 137 });
  });

  test("does not claim an end that came before it", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"] });
    await using subject = await domainSubject({ runtime });
    const { id } = await subject.create(await subject.session(), { command: POLITE });
    // The watch can't look at its end, and tries again only after a while.
    runtime.fail("inspect", new Failure("failed_precondition", "Cannot inspect: not now"));
    await runtime.stop(engineName(id), { graceMs: 5_000 }, subject.call().signal);
    expect((await subject.row(id))?.life.state).toBe("running");
    const endedBy = Date.now();
    while (Date.now() <= endedBy) await Bun.sleep(1); // ends and calls are told apart by their millisecond
    runtime.mend("inspect");
    await subject.containers.stop(id, {}, subject.call());
    expect(await subject.events("container_stopped")).toMatchObject([
      { source: "containers", data: { exit_code: "7" } },
    ]);
  });

  test("of a container that the engine has lost is NOT_FOUND, and forgets it", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session());
    const gate = subject.runtime.hold("inspect", "before");
    const stopping = thrown(() => subject.containers.stop(id, { graceMs: 1 }, subject.call()));
    await gate.reached;
    const [facts] = await subject.runtime.list({}, subject.call().signal);
    if (facts !== undefined) await subject.runtime.remove(facts.id, subject.call().signal);
    gate.release();
    expect((await stopping).kind).toBe("not_found");
    expect(await subject.rows()).toEqual([]);
    expect(await subject.events("container_removed")).toHaveLength(1);
  });
});

describe("remove()", () => {
  test("refuses a running or paused container without force, and takes it with force", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId);
    const { life } = await subject.create(sessionId);
    if (!isMade(life)) throw new Error("it was not made");
    await subject.runtime.pause(life.runtimeId, subject.call().signal);
    await subject.event("container_paused");
    for (const each of await subject.rows()) {
      const failure = await thrown(() =>
        subject.containers.remove(each.id, { how: "stopped_only" }, subject.call()),
      );
      expect(failure).toMatchObject({
        kind: "failed_precondition",
        details: { reason: "CONTAINER_RUNNING" },
      });
      await subject.containers.remove(each.id, { how: "force" }, subject.call());
    }
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
    expect((await thrown(() => subject.containers.get(id))).kind).toBe("not_found");
    expect((await subject.sessions.get(sessionId)).containerIds).toEqual([]);
    expect(await subject.containers.count()).toBe(0);
    expect(await subject.events("container_removed")).toHaveLength(2);
  });

  test("twice at once removes once; afterwards it is NOT_FOUND", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session());
    const remove = () => subject.containers.remove(id, { how: "force" }, subject.call());
    await Promise.all([remove(), remove(), remove()]);
    expect(await subject.events("container_removed")).toHaveLength(1);
    expect(await subject.containers.count()).toBe(0);
    expect((await thrown(remove)).kind).toBe("not_found");
  });

  test("by force ends a creation that is under way", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const gate = subject.runtime.hold("start", "after");
    const creating = thrown(() => subject.create(sessionId));
    await gate.reached;
    const [row] = await subject.rows();
    if (row === undefined) throw new Error("there is no intent");
    await subject.containers.remove(row.id, { how: "force" }, subject.call());
    expect(await creating).toMatchObject({ kind: "aborted" });
    expect((await creating).message).toContain("removed by force");
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
    expect(await subject.containers.count()).toBe(0);
  });

  test("of a session that closes goes on when the engine can't stop the container", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await subject.create(sessionId);
    subject.runtime.failNext(
      "stop",
      new Failure("unavailable", "Cannot stop: no exit event", { reason: "RUNTIME_ERROR" }),
    );
    expect((await subject.sessions.close(sessionId, { reason: "" }, subject.call())).life.state).toBe(
      "closed",
    );
    expect(await subject.engineNames()).toEqual([]);
  });

  test("tells of it with the labels that its session has by then", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await subject.create(sessionId);
    const relabel = (session: Session) => ({
      ...session,
      metadata: { ...session.metadata, labels: { team: "red" } },
    });
    await subject.sessions.update(sessionId, relabel, subject.call());
    await subject.sessions.close(sessionId, { reason: "" }, subject.call());
    for (const event of await subject.events("container_stopped", "container_removed")) {
      expect(event.labels).toEqual({ team: "red" });
    }
  });

  test("by force does not wait for the grace of a stop", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(), { command: STUBBORN });
    const gate = subject.runtime.hold("stop", "before");
    const stopping = subject.containers.stop(id, { graceMs: 3_600_000 }, subject.call());
    await gate.reached;
    gate.release();
    await subject.containers.remove(id, { how: "force" }, subject.call());
    expect((await stopping).container.life).toMatchObject({ state: "exited", exitCode: 137 });
    expect(await subject.rows()).toEqual([]);
  });

  test("by force goes on when the engine never answers its kill", async () => {
    const limits = {
      BAAAHT_RUNTIME_STOP_GRACE: "50ms",
      BAAAHT_RUNTIME_CLOSE_GRACE: "50ms",
      BAAAHT_RUNTIME_OPERATION_TIMEOUT: "1s",
    };
    await using subject = await domainSubject({ limits });
    const { id } = await subject.create(await subject.session());
    const stop = subject.runtime.hold("stop", "before");
    const stopping = thrown(() => subject.containers.stop(id, {}, subject.call()));
    await stop.reached;
    const kill = subject.runtime.hold("kill", "before");
    const removing = subject.containers.remove(id, { how: "force" }, subject.call());
    await kill.reached;
    await removing;
    expect(await stopping).toMatchObject({ kind: "unavailable", details: { reason: "TIMED_OUT" } });
    expect(await subject.rows()).toEqual([]);
  });
});

describe("the close of a session", () => {
  test("stops and removes its containers, and tells it in order", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const made = await Promise.all([1, 2, 3].map(() => subject.create(sessionId, { command: POLITE })));
    const session = await subject.sessions.close(sessionId, { reason: "enough" }, subject.call());
    expect(session).toMatchObject({ life: { state: "closed", reason: "enough" }, containerIds: [] });
    expect(await subject.engineNames()).toEqual([]);
    const types = ["session_updated", "container_stopped", "container_removed", "session_closed"] as const;
    const events = await subject.events(...types);
    expect(events[0]).toMatchObject({ type: "session_updated", data: { state: "closing" } });
    expect(events.at(-1)).toMatchObject({ type: "session_closed", data: { reason: "enough" } });
    for (const { id } of made) {
      const own = events.filter(({ containerId }) => containerId === id);
      expect(own.map(({ type, data }) => [type, data?.exit_code ?? data?.reason])).toEqual([
        ["container_stopped", "7"],
        ["container_removed", "its session was closed"],
      ]);
    }
  });

  test("ends a creation that is under way at each of its steps, and leaves nothing of it", async () => {
    for (const step of ["create", "start", "inspect"] as const) {
      for (const side of ["before", "after"] as const) {
        await using subject = await domainSubject();
        const sessionId = await subject.session();
        const gate = subject.runtime.hold(step, side);
        const creating = thrown(() => subject.create(sessionId));
        await gate.reached;
        const session = await subject.sessions.close(sessionId, { reason: "" }, subject.call());
        expect(session.life.state).toBe("closed");
        expect(await creating).toMatchObject({ kind: "failed_precondition" });
        expect((await creating).message).toContain("it is closing");
        expect(await subject.rows()).toEqual([]);
        expect(await subject.engineNames()).toEqual([]);
        expect(await subject.containers.count()).toBe(0);
        const last = (await subject.events()).at(-1);
        expect(last?.type).toBe("session_closed");
      }
    }
  });

  test("cuts a stop short whose grace is longer than its own", async () => {
    await using subject = await domainSubject({ limits: { BAAAHT_RUNTIME_CLOSE_GRACE: "20ms" } });
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId, { command: STUBBORN });
    const gate = subject.runtime.hold("stop", "before");
    const stopping = subject.containers.stop(id, { graceMs: 3_600_000 }, subject.call());
    await gate.reached;
    gate.release();
    const session = await subject.sessions.close(sessionId, { reason: "" }, subject.call());
    expect(session.life.state).toBe("closed");
    expect((await stopping).container.life).toMatchObject({ state: "exited", exitCode: 137 });
  });

  test("goes on as CLOSING while there is no engine, and ends by itself when there is one", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await subject.create(sessionId, { command: POLITE });
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    const session = await subject.sessions.close(sessionId, { reason: "enough" }, subject.call());
    expect(session.life).toMatchObject({ state: "closing", reason: "enough" });
    expect((await thrown(() => subject.create(sessionId))).kind).not.toBe("internal");
    await subject.runtime.comeUp();
    const closed = await subject.event("session_closed");
    expect(closed.data).toMatchObject({ reason: "enough" });
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
  }, 15_000);

  test("of 20 sessions with containers, again and again, leaves nothing", async () => {
    await using subject = await domainSubject();
    for (let round = 0; round < 3; round += 1) {
      const sessions = await Promise.all(Array.from({ length: 20 }, () => subject.session()));
      await Promise.all(sessions.flatMap((id) => [1, 2].map(() => subject.create(id, { command: POLITE }))));
      // Half of them are being made when their sessions close.
      const racing = sessions.map((id) =>
        subject.create(id, { command: POLITE }).catch((error: unknown) => error),
      );
      const closed = await Promise.all(
        sessions.map((id) => subject.sessions.close(id, { reason: "" }, subject.call())),
      );
      expect(new Set(closed.map(({ life }) => life.state))).toEqual(new Set(["closed"]));
      await Promise.all(racing);
    }
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
    expect([await subject.containers.count(), await subject.sessions.countOpen()]).toEqual([0, 0]);
    expect(subject.words.filter((line) => line.includes('"error"'))).toEqual([]);
  }, 30_000);
});

describe("wait()", () => {
  test("gives the end that was before it, and the one that comes", async () => {
    await using subject = await domainSubject();
    const { followers } = subject.log;
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId, { command: POLITE });
    const waiters = Array.from({ length: 100 }, () => subject.containers.wait(id, subject.call()));

    await subject.containers.stop(id, {}, subject.call());
    for (const ended of await Promise.all(waiters)) {
      expect(ended).toMatchObject({ kind: "exited", exitCode: 7, oomKilled: false });
    }
    expect(await subject.containers.wait(id, subject.call())).toMatchObject({ kind: "exited", exitCode: 7 });
    expect(subject.log.followers).toBe(followers);
  });

  test("gives the end of a container that is removed as soon as it has ended", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    for (let round = 0; round < 5; round += 1) {
      const { id } = await subject.create(sessionId, { command: POLITE, removeOnStop: true });
      const waiters = Array.from({ length: 20 }, () => subject.containers.wait(id, subject.call()));
      const [facts] = await subject.runtime.list({ "baaaht.container": id }, subject.call().signal);
      if (facts === undefined) throw new Error("it was not made");
      await subject.runtime.stop(facts.id, { graceMs: 5_000 }, subject.call().signal);
      for (const ended of await Promise.all(waiters)) {
        expect(ended).toMatchObject({ kind: "exited", exitCode: 7 });
        expect(ended.kind === "exited" && Math.abs(ended.exitedAt - Date.now()) < 60_000).toBe(true);
      }
    }
  });

  test("says that it was removed while it ran", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session());
    const waiting = subject.containers.wait(id, subject.call());
    const [facts] = await subject.runtime.list({}, subject.call().signal);
    if (facts === undefined) throw new Error("it was not made");
    const gate = subject.runtime.hold("inspect", "before");
    await subject.runtime.remove(facts.id, subject.call().signal);
    gate.release();
    expect(await waiting).toMatchObject({ kind: "removed", reason: "it was removed in the engine" });
  });

  test("goes on while the engine is lost, and hears what happened meanwhile", async () => {
    await using subject = await domainSubject();
    const other = await subject.create(await subject.session(), { command: POLITE });
    const waiting = subject.containers.wait(other.id, subject.call());
    const gate = subject.runtime.hold("list", "before");
    subject.runtime.loseWatches();
    await gate.reached;
    await subject.runtime.stop(engineName(other.id), { graceMs: 5_000 }, subject.call().signal);
    gate.release();
    expect(await waiting).toMatchObject({ kind: "exited", exitCode: 7 });
  });

  test("ends with its caller", async () => {
    await using subject = await domainSubject();
    const { followers } = subject.log;
    const { id } = await subject.create(await subject.session());
    const caller = new AbortController();
    const waiting = thrown(() => subject.containers.wait(id, subject.call(caller.signal)));
    caller.abort(new Failure("cancelled", "Cannot wait: enough"));
    expect((await waiting).message).toBe("Cannot wait: enough");
    expect(subject.log.followers).toBe(followers);
  });
});
