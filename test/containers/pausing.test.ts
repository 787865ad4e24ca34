import { expect, test } from "bun:test";
import type { ContainerId } from "../../src/containers/container.ts";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { domainSubject, POLITE } from "./domain-subject.ts";

test("pause() and resume() change the state, tell who did it, and are no error the second time", async () => {
  await using subject = await domainSubject();
  const { id } = await subject.create(await subject.session());
  for (const _ of [1, 2]) {
    expect((await subject.pausing.pause(id, subject.call())).life.state).toBe("paused");
  }
  for (const _ of [1, 2]) {
    expect((await subject.pausing.resume(id, subject.call())).life.state).toBe("running");
  }
  const told = { source: "orchestrator.grpc", actor: "uid:1", containerId: id };
  expect(await subject.events("container_paused", "container_resumed")).toMatchObject([
    { type: "container_paused", ...told },
    { type: "container_resumed", ...told },
  ]);
});

test("pause() and resume() of a container that has ended are FAILED_PRECONDITION and name its state", async () => {
  await using subject = await domainSubject();
  const { id } = await subject.create(await subject.session(), { command: POLITE });
  await subject.containers.stop(id, {}, subject.call());
  for (const act of [subject.pausing.pause, subject.pausing.resume]) {
    const failure = await thrown(() => act(id, subject.call()));
    expect(failure).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "CONTAINER_NOT_RUNNING", metadata: { state: "exited" } },
    });
    expect(failure.message).toEndWith(`container "${id}": it is exited`);
  }
});

test("pause() of a container that nobody knows, or that the engine has lost, is NOT_FOUND", async () => {
  await using subject = await domainSubject();
  const { id } = await subject.create(await subject.session());
  const unknown = await thrown(() => subject.pausing.pause("none" as ContainerId, subject.call())); // any text may be one
  expect(unknown.details.reason).toBe("CONTAINER_NOT_FOUND");
  subject.runtime.failNext("pause", new Failure("not_found", "Cannot pause: No such container"));
  const gate = subject.runtime.hold("inspect", "before");
  const pausing = thrown(() => subject.pausing.pause(id, subject.call()));
  await gate.reached;
  const [facts] = await subject.runtime.list({}, subject.call().signal);
  if (facts !== undefined) await subject.runtime.remove(facts.id, subject.call().signal);
  gate.release();
  expect(await pausing).toMatchObject({ kind: "not_found", details: { reason: "CONTAINER_NOT_FOUND" } });
  expect(await subject.rows()).toEqual([]);
});

test("pause() that the engine fails with an error of its own says so", async () => {
  await using subject = await domainSubject();
  const { id } = await subject.create(await subject.session());
  subject.runtime.failNext("pause", new Failure("unavailable", "Cannot pause: no"));
  expect((await thrown(() => subject.pausing.pause(id, subject.call()))).kind).toBe("unavailable");
  expect((await subject.row(id))?.life.state).toBe("running");
});

test("pause() that the engine refuses while the container runs on has the engine's reason", async () => {
  await using subject = await domainSubject();
  const { id } = await subject.create(await subject.session());
  const refusal = new Failure(
    "failed_precondition",
    'Cannot pause container "x": nothing can be frozen here',
  );
  subject.runtime.failNext("pause", refusal);
  const failure = await thrown(() => subject.pausing.pause(id, subject.call()));
  expect(failure.message).toBe(`Cannot pause container "${id}": it is running (nothing can be frozen here)`);
});
