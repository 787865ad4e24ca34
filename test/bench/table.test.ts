import { describe, expect, test } from "bun:test";
import { isMet, type Row, type Target } from "../../bench/figure.ts";
import { attainment, plot } from "../../bench/plot.ts";
import { sampleOf } from "../../bench/statistics.ts";
import { markdownTable, textTable } from "../../bench/table.ts";

describe("isMet()", () => {
  const of = (target: Target, ratio = 0.8) => isMet({ ...row, ratio, target });

  test("judges the ratio or the median, whichever the target names", () => {
    expect(of({ of: "ratio", is: "at least", value: 0.8 })).toBe(true);
    expect(of({ of: "ratio", is: "at least", value: 0.81 })).toBe(false);
    expect(of({ of: "ours", is: "at most", value: 12_300 })).toBe(true);
    expect(of({ of: "ours", is: "below", value: 12_300 })).toBe(false);
    expect(of({ of: "none" })).toBeUndefined();
  });

  test("does not take a ratio that was not measured for one that is reached", () => {
    const { ratio: _, ...unmeasured } = row;
    expect(isMet({ ...unmeasured, target: { of: "ratio", is: "at most", value: 1.1 } })).toBe(false);
  });
});

describe("textTable()", () => {
  test("gives each row's numbers with what they lay between, and says what is not reached", () => {
    const missed: Row = { ...row, what: "slow", target: { of: "ours", is: "at least", value: 20_000 } };
    expect(textTable([row, missed]).split("\n")).toEqual([
      "figure  unit     ours                     bare                          ratio  target           met",
      "fast    calls/s  12,300 (9.50 to 20,000)  15,000 (12.0 to 18,000) echo  0.80   >= 0.80 of bare  yes",
      "slow    calls/s  12,300 (9.50 to 20,000)  15,000 (12.0 to 18,000) echo  0.80   >= 20,000        NO",
    ]);
  });
});

describe("markdownTable()", () => {
  test("has one line a row under a head", () => {
    const lines = markdownTable([row]).split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[2]).toStartWith("| fast | calls/s | 12,300 (9.50 to 20,000) |");
  });
});

describe("plot()", () => {
  test("draws how many times a target is reached, whichever way it points", () => {
    const at = (target: Target) => attainment({ ...row, target });
    expect(at({ of: "ours", is: "at least", value: 6_150 })).toBe(2);
    expect(at({ of: "ours", is: "below", value: 6_150 })).toBe(0.5);
    const picture = plot([row, { ...row, what: "<b>", target: { of: "none" } }], "a & b");
    expect(picture).toContain("a &amp; b");
    expect(picture).not.toContain("<b>");
    expect(picture.match(/<rect x=/g)).toHaveLength(1);
  });
});

const row: Row = {
  what: "fast",
  unit: "calls/s",
  ours: sampleOf([9.5, 12_300, 20_000]),
  bare: { what: "echo", sample: sampleOf([12, 15_000, 18_000]) },
  ratio: 0.8,
  target: { of: "ratio", is: "at least", value: 0.8 },
};
