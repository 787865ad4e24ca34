import { describe, expect, test } from "bun:test";
import {
  crossings,
  nothingReached,
  type Reached,
  sumOf,
  type Usage,
  usageOf,
} from "../../src/containers/usage.ts";

const READING = {
  at: 10_000,
  cpuNs: 3_000_000_000,
  memoryBytes: 256,
  memoryLimitBytes: 1_024,
  networkRxBytes: 1,
  networkTxBytes: 2,
  blockReadBytes: 3,
  blockWriteBytes: 4,
  pids: 5,
  pidsLimit: 10,
};

describe("usageOf()", () => {
  test("counts the processor in percent of one core, since the reading before", () => {
    const base = { at: 8_000, cpuNs: 1_000_000_000 };
    expect(usageOf(READING, { base, startedAt: 0 })).toMatchObject({
      cpuPercent: 100,
      memoryPercent: 25,
      pids: 5,
    });
    expect(usageOf({ ...READING, cpuNs: 6_000_000_000 }, { base, startedAt: 0 }).cpuPercent).toBe(250);
  });

  test("counts it since the start for the first reading, and where the one before was another run's", () => {
    expect(usageOf(READING, { base: undefined, startedAt: 4_000 }).cpuPercent).toBe(50);
    const more = { at: 9_000, cpuNs: 4_000_000_000 };
    expect(usageOf(READING, { base: more, startedAt: 4_000 }).cpuPercent).toBe(50);
    const older = { at: 3_000, cpuNs: 0 };
    expect(usageOf(READING, { base: older, startedAt: 4_000 }).cpuPercent).toBe(50);
  });

  test("is 0 where no time has passed, or there is no limit", () => {
    expect(usageOf(READING, { base: undefined, startedAt: 10_000 }).cpuPercent).toBe(0);
    expect(
      usageOf({ ...READING, memoryLimitBytes: 0 }, { base: undefined, startedAt: 0 }).memoryPercent,
    ).toBe(0);
  });
});

describe("sumOf()", () => {
  test("adds up, and has a limit only if each has one", () => {
    const usage = usageOf(READING, { base: undefined, startedAt: 4_000 });
    expect(sumOf([])).toBeUndefined();
    expect(sumOf([usage, { ...usage, at: 11_000, memoryBytes: 768 }])).toEqual({
      at: 11_000,
      cpuPercent: 100,
      memoryBytes: 1_024,
      memoryLimitBytes: 2_048,
      memoryPercent: 50,
      networkRxBytes: 2,
      networkTxBytes: 4,
      blockReadBytes: 6,
      blockWriteBytes: 8,
      pids: 10,
      pidsLimit: 20,
    });
    expect(sumOf([usage, { ...usage, memoryLimitBytes: 0 }])).toMatchObject({
      memoryLimitBytes: 0,
      memoryPercent: 0,
    });
  });
});

describe("crossings()", () => {
  /** The marks that memory crosses as it takes these shares one after the other. */
  function told(
    percents: readonly number[],
    marks: readonly number[] = [80, 95],
  ): readonly (readonly number[])[] {
    let reached: Reached = nothingReached;
    return percents.map((percent) => {
      const usage: Usage = {
        ...usageOf(READING, { base: undefined, startedAt: 0 }),
        memoryBytes: percent,
        memoryLimitBytes: 100,
      };
      const step = crossings(usage, { marks, reached });
      reached = step.reached;
      return step.crossed.map(({ mark }) => mark);
    });
  }

  test("tells of a mark when it is reached, and not again while it stays", () => {
    expect(told([79, 80, 81, 94, 95, 100])).toEqual([[], [80], [], [], [95], []]);
  });

  test("tells of each mark that is leapt over", () => {
    expect(told([10, 99])).toEqual([[], [80, 95]]);
  });

  test("tells again only after it has fallen well below", () => {
    expect(told([80, 76, 80, 74, 80])).toEqual([[80], [], [], [], [80]]);
    expect(told([96, 91, 95, 89, 95])).toEqual([[80, 95], [], [], [], [95]]);
  });

  test("tells of processes too, and of nothing without a limit or marks", () => {
    const usage = { ...usageOf(READING, { base: undefined, startedAt: 0 }), pids: 9 };
    expect(crossings(usage, { marks: [80], reached: nothingReached }).crossed).toEqual([
      { resource: "pids", mark: 80, percent: 90, usage: 9, limit: 10 },
    ]);
    const unbounded = { ...usage, pidsLimit: 0 };
    expect(crossings(unbounded, { marks: [80], reached: nothingReached }).crossed).toEqual([]);
    expect(told([100], [])).toEqual([[]]);
  });
});
