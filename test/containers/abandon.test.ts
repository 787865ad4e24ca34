import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { type DomainSubject, domainSubject } from "./domain-subject.ts";

describe("a removal that abandons", () => {
  test("forgets a container of a lost engine, which is removed when the engine is back", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const { id } = await subject.create(sessionId);
    await lose(subject);
    await subject.containers.remove(id, { how: "abandon" }, subject.call());
    expect(await subject.rows()).toEqual([]);
    expect(await subject.containers.count()).toBe(0);
    expect((await subject.sessions.get(sessionId)).containerIds).toEqual([]);
    const [removed, ...more] = await subject.events("container_removed");
    expect(more).toEqual([]);
    expect(removed).toMatchObject({ containerId: id, actor: "uid:1", data: { state: "running" } });
    expect(removed?.data?.reason).toContain("it was turned off");
    await subject.runtime.comeUp();
    await subject.engine("up");
    expect(await subject.engineNames()).toEqual([]);
    expect(await subject.events("container_removed", "container_stopped")).toHaveLength(1);
  });

  test("forgets a container that the engine refuses to remove, and goes on until it has", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session());
    subject.runtime.fail("remove", new Failure("unavailable", "Cannot remove: the device is busy"));
    const refused = await thrown(() => subject.containers.remove(id, { how: "force" }, subject.call()));
    expect(refused.kind).toBe("unavailable");
    await subject.containers.remove(id, { how: "abandon" }, subject.call());
    expect(await subject.rows()).toEqual([]);
    expect((await subject.events("container_removed"))[0]?.data?.reason).toContain("the device is busy");
    expect(await subject.engineNames()).toHaveLength(1);
    const signal = AbortSignal.timeout(10_000);
    const changes = subject.runtime.watch({}, signal)[Symbol.asyncIterator]();
    await changes.next();
    subject.runtime.mend("remove");
    while ((await subject.engineNames()).length > 0) await changes.next();
  });

  test("is a forced removal where the engine works", async () => {
    await using subject = await domainSubject();
    const { id } = await subject.create(await subject.session());
    await subject.containers.remove(id, { how: "abandon" }, subject.call());
    expect(await subject.engineNames()).toEqual([]);
    expect((await subject.events("container_removed"))[0]?.data?.reason).toBe("it was removed by a call");
    const gone = await thrown(() => subject.containers.remove(id, { how: "abandon" }, subject.call()));
    expect(gone.kind).toBe("not_found");
  });
});

describe("a close that abandons", () => {
  test("ends a session that is closing because its engine is lost, and the engine is cleaned up when it is back", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await Promise.all([subject.create(sessionId), subject.create(sessionId)]);
    await lose(subject);
    const call = subject.call();
    const closing = await subject.sessions.close(sessionId, { reason: "enough" }, call);
    expect(closing.life.state).toBe("closing");
    const closed = await subject.sessions.close(sessionId, { reason: "now", how: "abandon" }, call);
    expect(closed).toMatchObject({ life: { state: "closed", reason: "enough" }, containerIds: [] });
    expect([await subject.rows(), await subject.containers.count()]).toEqual([[], 0]);
    expect(await subject.sessions.countOpen()).toBe(0);
    await subject.runtime.comeUp();
    await subject.engine("up");
    expect(await subject.engineNames()).toEqual([]);
    expect(await subject.events("session_closed")).toHaveLength(1);
  });

  test("ends one that is open at once", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await subject.create(sessionId);
    await lose(subject);
    const options = { reason: "", how: "abandon" as const };
    expect((await subject.sessions.close(sessionId, options, subject.call())).life.state).toBe("closed");
  });
});

async function lose(subject: DomainSubject): Promise<void> {
  subject.runtime.goDown("it was turned off");
  await subject.engine("lost");
}
