import { describe, expect, test } from "bun:test";
import { Rush } from "../../../src/containers/warm/rush.ts";

describe("Rush", () => {
  test("lets the end of a container that is taken alone go at once", () => {
    const rush = new Rush(() => {});
    using taking = rush.begin();
    expect(taking.isAlone).toBe(true);
    let isLetGo = false;
    taking.ending(() => {
      isLetGo = true;
    });
    expect(isLetGo).toBe(true);
  });

  test("holds ends while others are being taken, lets them go one after the other, and tells that it is over", async () => {
    const over = Promise.withResolvers<void>();
    const rush = new Rush(over.resolve);
    const takings = [rush.begin(), rush.begin(), rush.begin()];
    expect(takings.some(({ isAlone }) => isAlone)).toBe(false);
    const gone: number[] = [];
    takings.forEach((taking, at) => void taking.ending(() => gone.push(at)));
    await Bun.sleep(0);
    expect(gone).toEqual([]);
    expect(rush.isOn).toBe(true);
    for (const taking of takings) taking[Symbol.dispose]();
    expect(gone).toEqual([]);
    await over.promise;
    expect(gone).toEqual([0, 1, 2]);
    expect(rush.isOn).toBe(false);
  });

  test("lets an end go that has waited long, although containers are taken on and on", async () => {
    const rush = new Rush(() => {});
    using first = rush.begin();
    using _second = rush.begin();
    await new Promise<void>((resolve) => first.ending(resolve));
    expect(rush.isOn).toBe(true);
  });
});
