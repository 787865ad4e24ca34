import { describe, expect, test } from "bun:test";
import { engineName, isMade } from "../../src/containers/container.ts";
import type { EventType } from "../../src/events/event.ts";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { domainSubject, POLITE } from "./domain-subject.ts";
import { GatedRuntime } from "./gated-runtime.ts";

const all = { filter: {}, limit: 100 };

describe("EngineLink without an engine", () => {
  test("tells RUNTIME_LOST once at the start, and RUNTIME_RECOVERED when there is one", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"] });
    runtime.goDown("nothing listens there");
    await using subject = await domainSubject({ runtime });
    expect(subject.containers.link.state).toMatchObject({ kind: "lost" });
    await runtime.comeUp();
    await subject.engine("up");
    const sessionId = await subject.session();
    await subject.create(sessionId);
    const told = await subject.events("runtime_lost", "runtime_recovered");
    expect(told.map(({ type }) => type)).toEqual(["runtime_lost", "runtime_recovered"]);
    expect(told[0]).toMatchObject({ source: "containers", priority: "high" });
    expect(told[0]?.data?.reason).toContain("nothing listens there");
    expect(subject.states.map(({ kind }) => kind)).toEqual(["lost", "up"]);
  });

  test("says of every container that it is unknown, and why, and knows again when it is back", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId);
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    const { known } = await subject.containers.get(id);
    expect(known).toMatchObject({ kind: "no" });
    expect(known.kind === "no" && known.reason).toContain("it was turned off");
    const states = async (...wanted: ("running" | "exited" | "unknown")[]) =>
      (await subject.containers.list({ filter: { states: wanted }, limit: 10 })).total;
    expect([await states("unknown"), await states("running"), await states("exited")]).toEqual([1, 0, 0]);
    expect(await states("running", "unknown")).toBe(1);
    expect((await subject.containers.list(all)).rows.map((row) => row.known.kind)).toEqual(["no"]);
    const unavailable = await thrown(() => subject.containers.stop(id, {}, subject.call()));
    expect(unavailable.kind).toBe("unavailable");
    expect((await thrown(() => subject.containers.remove(id, { how: "force" }, subject.call()))).kind).toBe(
      "unavailable",
    );
    await subject.runtime.comeUp();
    await subject.engine("up");
    expect([await states("unknown"), await states("running")]).toEqual([0, 1]);
    expect((await subject.containers.get(id)).known.kind).toBe("yes");
    expect(await subject.events("runtime_lost", "runtime_recovered")).toHaveLength(2);
  });

  test("gives the newest reason why it can't be used", async () => {
    const runtime = new GatedRuntime();
    runtime.goDown("the first reason");
    await using subject = await domainSubject({ runtime });
    const asked = runtime.hold("list", "before");
    await runtime.comeUp();
    await asked.reached;
    runtime.goDown("the second reason");
    const next = runtime.hold("watch", "before");
    asked.release();
    await next.reached;
    const { state } = subject.containers.link;
    expect(state).toMatchObject({ kind: "lost", reason: expect.stringContaining("the second reason") });
    next.release();
    expect(await subject.events("runtime_lost")).toHaveLength(1);
  });
});

describe("EngineLink after an interruption", () => {
  test("tells what happened to each container meanwhile, once", async () => {
    await using subject = await domainSubject();
    const { runtime } = subject;
    const sessionId = await subject.session();
    const [stays, exits, goes, freezes, restarts] = await Promise.all(
      Array.from({ length: 5 }, () => subject.create(sessionId, { command: POLITE })),
    );
    const engineId = async (container: typeof stays) => {
      const row = container && (await subject.row(container.id));
      if (row === undefined || !isMade(row.life)) throw new Error("it was not made");
      return row.life.runtimeId;
    };
    const signal = subject.call().signal;
    const ids = await Promise.all([exits, goes, freezes, restarts].map(engineId));
    const [exited = ids[0], gone = ids[0], frozen = ids[0], restarted = ids[0]] = ids;
    if (exited === undefined || gone === undefined || frozen === undefined || restarted === undefined)
      throw new Error("there are four");
    // Not seen by the watch: it is lost, and the comparison that follows is held until all has happened.
    const gate = runtime.hold("list", "before");
    runtime.loseWatches();
    await subject.engine("lost");
    await gate.reached;
    await runtime.stop(exited, { graceMs: 5_000 }, signal);
    await runtime.remove(gone, signal);
    await runtime.pause(frozen, signal);
    await runtime.stop(restarted, { graceMs: 5_000 }, signal);
    await runtime.start(restarted, signal);
    const before = (await subject.events()).length;
    gate.release();
    await subject.engine("up");
    const events = (await subject.events()).slice(before);
    expect(events.map(({ type, containerId }) => [type, containerId]).sort()).toEqual(
      [
        ["container_stopped", exits?.id],
        ["container_removed", goes?.id],
        ["container_paused", freezes?.id],
        ["container_started", restarts?.id],
        ["runtime_recovered", undefined],
      ].sort(),
    );
    expect(events.find(({ type }) => type === "container_stopped")).toMatchObject({
      source: "containers",
      actor: "system",
      data: { exit_code: "7", oom_killed: "false" },
    });
    expect(events.every(({ source }) => source === "containers")).toBe(true);
    expect((await subject.row(stays?.id ?? ""))?.life.state).toBe("running");
    expect((await subject.sessions.get(sessionId)).containerIds).not.toContain(goes?.id ?? "");
    expect(await subject.containers.count()).toBe(4);
    // The same again says nothing: nothing has happened since.
    const settled = (await subject.events()).length;
    runtime.loseWatches();
    await subject.engine("lost");
    await subject.engine("up");
    const more = (await subject.events()).slice(settled);
    expect(more.map(({ type }) => type)).toEqual(["runtime_lost", "runtime_recovered"]);
  });

  test("removes what was to be removed when it stopped, also when that was interrupted", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session(), { removeOnStop: true });
    const gate = subject.runtime.hold("remove", "before");
    await subject.containers.stop(id, { graceMs: 1 }, subject.call());
    await gate.reached; // its end is in the log, and its removal has begun
    subject.runtime.goDown("it was turned off");
    await subject.engine("lost");
    gate.release();
    await subject.runtime.comeUp();
    await subject.engine("up");
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
  });

  test("takes over an engine that was emptied", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const made = await Promise.all(Array.from({ length: 5 }, () => subject.create(sessionId)));
    subject.runtime.goDown("it is set up anew");
    await subject.engine("lost");
    await subject.runtime.comeUp({ emptied: true });
    await subject.engine("up");
    expect(await subject.rows()).toEqual([]);
    expect(await subject.containers.count()).toBe(0);
    const removed = await subject.events("container_removed");
    expect(removed.map(({ containerId }) => containerId).sort()).toEqual(made.map(({ id }) => id).sort());
  });

  test("removes what no row knows, and leaves alone what is not this install's", async () => {
    await using subject = await domainSubject();
    const id = Bun.randomUUIDv7();
    const { runtime, store } = subject;
    const gate = runtime.hold("list", "before");
    runtime.loseWatches();
    await gate.reached;
    const ours = { "baaaht.install": store.install, "baaaht.container": id };
    const theirs = { "baaaht.install": Bun.randomUUIDv7(), "baaaht.container": id };
    await subject.foreign({ name: `baaaht-${id}`, labels: ours });
    await subject.foreign({ name: "theirs", labels: theirs });
    await subject.foreign({ name: "nobodys" });
    // Made from an image of one of ours, which carries our labels along: somebody's own container.
    await subject.foreign({ name: "committed", labels: ours });
    gate.release();
    await subject.engine("up");
    const left = (await runtime.list({}, subject.call().signal)).map(({ name }) => name);
    expect(left.sort()).toEqual(["committed", "nobodys", "theirs"]);
  });

  test("keeps to a container that was given another name in the engine", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId);
    const [facts] = await subject.runtime.list({}, subject.call().signal);
    if (facts === undefined) throw new Error("it was not made");
    subject.runtime.rename(facts.id, "mine-now");
    subject.runtime.loseWatches();
    await subject.engine("lost");
    await subject.engine("up");
    expect((await subject.row(id))?.life.state).toBe("running");
    await subject.containers.remove(id, { how: "force" }, subject.call());
    expect(await subject.engineNames()).toEqual([]);
  });

  test("never takes an old list for the truth", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id: old } = await subject.create(sessionId, { command: POLITE });
    const gate = subject.runtime.hold("list", "after");
    subject.runtime.loseWatches();
    await gate.reached;
    // The list is taken, and says that one runs and of the other nothing.
    await subject.containers.stop(old, { graceMs: 5_000 }, subject.call());
    const { id: young } = await subject.create(sessionId);
    gate.release();
    await subject.engine("up");
    expect((await subject.row(old))?.life).toMatchObject({ state: "exited", exitCode: 7 });
    expect((await subject.row(young))?.life.state).toBe("running");
    const deaths = await subject.events("container_stopped", "container_removed", "container_error");
    expect(deaths.map(({ type, containerId }) => [type, containerId])).toEqual([["container_stopped", old]]);
    expect(await subject.events("container_created")).toHaveLength(2);
  });

  test("does without the one container that the engine can't handle, and comes back to it", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"] });
    await using first = await domainSubject({ runtime });
    const sessionId = await first.session();
    const { id } = await first.create(sessionId);
    // Of this install, with no row: it has to go, and the engine refuses.
    const stuck = Bun.randomUUIDv7();
    runtime.fail("remove", new Failure("failed_precondition", "Cannot remove: device is busy"));
    await first.foreign({
      name: `baaaht-${stuck}`,
      labels: { "baaaht.install": first.store.install, "baaaht.container": stuck },
    });
    runtime.loseWatches();
    await first.engine("lost");
    await first.engine("up");
    expect((await first.containers.get(id)).known.kind).toBe("yes");
    runtime.mend("remove");
    const signal = AbortSignal.timeout(10_000);
    for await (const _ of runtime.watch({}, signal)) {
      if ((await first.engineNames()).length === 1) break;
    }
  });

  test("knows the containers of an engine that keeps its networks and volumes to itself", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"] });
    const refuse = async () => {
      throw new Failure("failed_precondition", "Cannot list them: that is not allowed here");
    };
    runtime.networks.list = refuse;
    runtime.volumes.list = refuse;
    await using subject = await domainSubject({ runtime });
    const { id } = await subject.create(await subject.session());
    expect((await subject.containers.get(id)).known.kind).toBe("yes");
    expect(subject.states.map(({ kind }) => kind)).toEqual(["up"]);
  });

  test("is right about 200 containers after a watch that breaks again and again under load", async () => {
    await using subject = await domainSubject({ limits: { BAAAHT_SESSIONS_MAX_CONTAINERS: "1000" } });
    const { runtime } = subject;
    const sessionId = await subject.session({ maxContainers: 200 });
    let breaking = true;
    const breaks = (async () => {
      // The rhythm of the faults, not a wait for anything.
      for (; breaking; await Bun.sleep(15)) runtime.loseWatches();
    })();
    const made = await Promise.all(
      Array.from({ length: 200 }, () => subject.create(sessionId, { command: POLITE })),
    );
    await Promise.all(
      made.map(async ({ id }, n) => {
        if (n % 3 === 0) await subject.containers.stop(id, { graceMs: 5_000 }, subject.call());
        if (n % 3 === 1) await subject.containers.remove(id, { how: "force" }, subject.call());
      }),
    );
    breaking = false;
    await breaks;
    runtime.loseWatches();
    await subject.engine("lost");
    await subject.engine("up");
    const of = async (type: EventType) => (await subject.events(type)).map(({ containerId }) => containerId);
    const third = (rest: number) => made.filter((_, n) => n % 3 === rest).map(({ id }) => id as string);
    expect((await of("container_created")).length).toBe(200);
    expect((await of("container_started")).length).toBe(200);
    expect((await of("container_removed")).sort()).toEqual(third(1).sort());
    const stopped = await of("container_stopped");
    expect(stopped.length).toBe(new Set(stopped).size);
    expect(stopped.filter((id) => !third(1).includes(id ?? "")).sort()).toEqual(third(0).sort());
    const rows = await subject.rows();
    expect(rows.filter(({ life }) => life.state === "running").map(({ id }) => id as string)).toEqual(
      rows.filter(({ id }) => third(2).includes(id)).map(({ id }) => id as string),
    );
    expect(await subject.containers.count()).toBe(rows.length);
    expect(subject.words.filter((line) => line.includes('"error"'))).toEqual([]);
  });
});

describe("remove_on_stop", () => {
  test("removes a container that has ended by itself, by a call, or while nobody looked", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const config = { removeOnStop: true, command: POLITE };
    const stopped = await subject.create(sessionId, config);
    await subject.containers.stop(stopped.id, { graceMs: 5_000 }, subject.call());
    const byItself = await subject.create(sessionId, { ...config, command: ["sh", "-c", "exit 3"] });
    const unseen = await subject.create(sessionId, config);
    await subject.event("container_removed", ({ containerId }) => containerId === stopped.id);
    await subject.event("container_removed", ({ containerId }) => containerId === byItself.id);
    const gate = subject.runtime.hold("list", "before");
    subject.runtime.loseWatches();
    await gate.reached;
    await subject.runtime.stop(engineName(unseen.id), { graceMs: 5_000 }, subject.call().signal);
    gate.release();
    await subject.event("container_removed", ({ containerId }) => containerId === unseen.id);
    expect(await subject.rows()).toEqual([]);
    expect(await subject.engineNames()).toEqual([]);
    const codes = (await subject.events("container_stopped")).map(({ data }) => data?.exit_code);
    expect(codes.sort()).toEqual(["3", "7", "7"]);
  });
});
