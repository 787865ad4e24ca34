import { expect, test } from "bun:test";
import { after } from "../../src/cli/after.ts";

test("after() acts when the time is over", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _timer = after(1, resolve);
  await promise;
});

test.each([
  ["a disposed one", 1, true],
  ["no time", undefined, false],
  ["0", 0, false],
  ["more than a timer can hold", 2 ** 32, false],
])("after() with %s does not act at once", async (_, ms, isDisposed) => {
  let acted = false;
  using timer = after(ms, () => {
    acted = true;
  });
  if (isDisposed) timer[Symbol.dispose]();
  // A later timer of the same length has had its turn: an earlier one would have had its own.
  await new Promise((resolve) => setTimeout(resolve, 2));
  expect(acted).toBe(false);
});
