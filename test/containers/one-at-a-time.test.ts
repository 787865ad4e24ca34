import { describe, expect, test } from "bun:test";
import { OneAtATime } from "../../src/containers/one-at-a-time.ts";
import { Failure } from "../../src/failure.ts";
import { thrown } from "../client/thrown.ts";

const never = new AbortController().signal;

describe("OneAtATime", () => {
  test("hold() lets holders of one key in one after the other, in the order in which they came", async () => {
    const locks = new OneAtATime();
    const order: number[] = [];
    let inside = 0;
    await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        using _held = await locks.hold("a", never);
        inside += 1;
        expect(inside).toBe(1);
        await Promise.resolve();
        order.push(n);
        inside -= 1;
      }),
    );
    expect(order).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect(locks.held("a")).toBe(false);
  });

  test("hold() of one key doesn't wait for another", async () => {
    const locks = new OneAtATime();
    using _one = await locks.hold("a", never);
    using _other = await locks.hold("b", never);
    expect([locks.held("a"), locks.held("b"), locks.held("c")]).toEqual([true, true, false]);
  });

  test("hold() that is aborted throws the reason and keeps neither those before nor those after it", async () => {
    const locks = new OneAtATime();
    const first = await locks.hold("a", never);
    const aborting = new AbortController();
    const second = thrown(() => locks.hold("a", aborting.signal));
    let third = false;
    const waiting = locks.hold("a", never).then((held) => {
      third = true;
      return held;
    });
    const reason = new Failure("cancelled", "Cannot wait: enough");
    aborting.abort(reason);
    expect(await second).toBe(reason);
    expect(third).toBe(false);
    first[Symbol.dispose]();
    (await waiting)[Symbol.dispose]();
    expect(locks.held("a")).toBe(false);
  });

  test("hold() with a signal that has aborted doesn't wait", async () => {
    const locks = new OneAtATime();
    using _first = await locks.hold("a", never);
    expect((await thrown(() => locks.hold("a", AbortSignal.abort()))).kind).toBe("cancelled");
  });
});

test("hold() lets nobody in because somebody who waited gave up", async () => {
  const locks = new OneAtATime();
  const order: string[] = [];
  const first = await locks.hold("a", never);
  const giving = new AbortController();
  const second = locks.hold("a", giving.signal).then(undefined, () => order.push("second gave up"));
  giving.abort();
  await second;
  expect(locks.held("a")).toBe(true);
  const third = locks.hold("a", never).then((held) => {
    order.push("third");
    return held;
  });
  await Promise.resolve();
  order.push("first is done");
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  expect(order).toEqual(["second gave up", "first is done", "third"]);
  expect(locks.held("a")).toBe(false);
});
