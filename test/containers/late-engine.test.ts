import { expect, test } from "bun:test";
import { abortFailure } from "../../src/failure.ts";
import type { ContainerSpec, RuntimeId } from "../../src/runtime/runtime.ts";
import { thrown } from "../client/thrown.ts";
import { unlessAborted } from "../runtime/fake-pipe.ts";
import { domainSubject } from "./domain-subject.ts";
import { GatedRuntime } from "./gated-runtime.ts";

/** An engine that does what it was asked for although nobody waits for its answer any more. */
class LateRuntime extends GatedRuntime {
  readonly asked = Promise.withResolvers<void>();
  readonly #goesOn = Promise.withResolvers<void>();

  override async create(spec: ContainerSpec, signal: AbortSignal): Promise<RuntimeId> {
    this.asked.resolve();
    const made = this.#goesOn.promise.then(() => super.create(spec, new AbortController().signal));
    try {
      return await unlessAborted(made, signal);
    } catch {
      throw abortFailure(signal);
    }
  }

  goOn(): void {
    this.#goesOn.resolve();
  }
}

test("create() leaves nothing behind in an engine that makes the container only when its caller has gone", async () => {
  await using runtime = new LateRuntime({ images: ["demo:1"] });
  await using subject = await domainSubject({ runtime });
  const sessionId = await subject.session();
  const caller = new AbortController();
  const creating = thrown(() => subject.create(sessionId, {}, { signal: caller.signal }));
  await runtime.asked.promise;
  caller.abort();
  expect((await creating).kind).toBe("cancelled");
  expect(await subject.rows()).toEqual([]);
  const changes = runtime.watch({}, AbortSignal.timeout(10_000))[Symbol.asyncIterator]();
  await changes.next();
  runtime.goOn();
  const actions: string[] = [];
  while (!actions.includes("destroy")) {
    const { value } = await changes.next();
    if (value?.kind === "changed") actions.push(value.action);
  }
  expect(actions[0]).toBe("create");
  expect(await subject.engineNames()).toEqual([]);
  expect(await subject.containers.count()).toBe(0);
});
