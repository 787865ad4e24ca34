import { expect, test } from "bun:test";
import { keepSessionsInUse } from "../../src/tasks/sessions-in-use.ts";

test("keepSessionsInUse() tells of many sessions at a time, and waits for none to tell of the next", async () => {
  const ids = Array.from({ length: 300 }, (_, at) => `s${at}`);
  const told = new Set<string>();
  const many = Promise.withResolvers<void>();
  const all = Promise.withResolvers<void>();
  const stop = new AbortController();
  const running = keepSessionsInUse(
    {
      handing: { sessionsAtWork: () => new Set(ids) },
      touch: async (id) => {
        told.add(id);
        if (told.size === 200) many.resolve();
        if (told.size === ids.length) all.resolve();
        await many.promise; // each of the first is written when the others are, too
      },
    },
    stop.signal,
  );
  await all.promise;
  stop.abort();
  await running;
  expect([...told].toSorted()).toEqual(ids.toSorted());
});
