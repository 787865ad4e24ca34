import { describe, expect, test } from "bun:test";
import { startAndInspect } from "../../src/containers/start-and-inspect.ts";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";
import { domainSubject } from "./domain-subject.ts";

const within = () => AbortSignal.timeout(10_000);

describe("startAndInspect()", () => {
  test("asks while the start is under way, and takes what it hears when the container runs", async () => {
    await using subject = await domainSubject();
    const id = await subject.foreign({});
    const answering = subject.runtime.hold("start", "after");
    const asked = subject.runtime.hold("inspect", "after");
    const facts = startAndInspect(subject.runtime, id, within);
    await answering.reached;
    await asked.reached;
    subject.runtime.fail("inspect", new Failure("unavailable", "Cannot ask again: it was asked already"));
    answering.release();
    asked.release();
    expect((await facts)?.state).toBe("running");
  });

  test("asks again when it was too early", async () => {
    await using subject = await domainSubject();
    const id = await subject.foreign({});
    const starting = subject.runtime.hold("start", "before");
    const asked = subject.runtime.hold("inspect", "before");
    const facts = startAndInspect(subject.runtime, id, within);
    await starting.reached;
    await asked.reached;
    asked.release();
    starting.release();
    expect((await facts)?.state).toBe("running");
  });

  test("fails as the start fails", async () => {
    await using subject = await domainSubject();
    const id = await subject.foreign({});
    const refused = new Failure("failed_precondition", "Cannot start it: the engine says no");
    subject.runtime.failNext("start", refused);
    expect(await thrown(() => startAndInspect(subject.runtime, id, within))).toBe(refused);
  });
});
