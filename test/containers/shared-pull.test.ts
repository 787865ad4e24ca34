import { expect, test } from "bun:test";
import { type PullStep, SharedPull } from "../../src/containers/shared-pull.ts";

const never = new AbortController().signal;

function step(layer: string, currentBytes: number): PullStep {
  return { kind: "step", status: "Downloading", layer, currentBytes, totalBytes: 100 };
}

test("a watcher that is slow, or comes late, gets the latest step of each layer and nothing in between", async () => {
  const begun = Promise.withResolvers<(step: PullStep) => void>();
  const end = Promise.withResolvers<string>();
  const shared = new SharedPull((tell) => {
    begun.resolve(tell);
    return end.promise;
  });
  const tell = await begun.promise;
  using early = shared.watch(never);
  const steps = early.steps[Symbol.asyncIterator]();
  tell(step("a", 1));
  expect((await steps.next()).value).toEqual(step("a", 1));
  for (let bytes = 2; bytes <= 100; bytes += 1) tell(step("a", bytes));
  tell(step("b", 7));
  expect([(await steps.next()).value, (await steps.next()).value]).toEqual([step("a", 100), step("b", 7)]);
  using late = shared.watch(never);
  end.resolve("done");
  const seen: PullStep[] = [];
  for await (const one of late.steps) seen.push(one);
  expect(seen).toEqual([step("a", 100), step("b", 7)]);
  expect((await steps.next()).done).toBe(true);
  expect(await late.result).toBe("done");
});

test("an image with more layers than there can be does not grow", async () => {
  const shared = new SharedPull(async (tell) => {
    for (let layer = 0; layer < 10_000; layer += 1) tell(step(String(layer), 1));
    return "done";
  });
  using watching = shared.watch(never);
  let count = 0;
  for await (const _ of watching.steps) count += 1;
  expect(count).toBe(256);
});
