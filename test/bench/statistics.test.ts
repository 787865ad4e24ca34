import { describe, expect, test } from "bun:test";
import { median, pairedRatio, percentile, sampleOf } from "../../bench/statistics.ts";

describe("statistics", () => {
  test("median() is the middle one, or the mean of the two in the middle, in whatever order they come", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 1, 4, 2])).toBe(3);
    expect(median([7])).toBe(7);
  });

  test("percentile() is the nearest rank", () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect([0, 1, 50, 99, 100].map((percent) => percentile(hundred, percent))).toEqual([1, 1, 50, 99, 100]);
    expect(percentile([3, 1, 2], 99)).toBe(3);
    expect(percentile([3, 1, 2], 34)).toBe(2);
  });

  test("sampleOf() says between what the measurements lay, and has none of nothing", () => {
    expect(sampleOf([4, 2, 9])).toEqual({ median: 4, min: 2, max: 9, count: 3 });
    expect(() => sampleOf([])).toThrow("there are no measurements");
  });

  test("pairedRatio() compares within rounds, so that a slow round changes nothing", () => {
    expect(pairedRatio([80, 8, 40], [100, 10, 50])).toBeCloseTo(0.8);
    expect(() => pairedRatio([1, 2], [1])).toThrow("2 rounds of ours, 1 of bare");
  });
});
