import { describe, expect, test } from "bun:test";
import { plainSpec } from "../../../src/containers/policy/plain-spec.ts";
import { Shape, shapeKey } from "../../../src/containers/warm/shape.ts";

const defaults = { nanoCpu: 1n, memoryBytes: 2n, pids: 3n, logBytes: 4, allowedPaths: [] };
const spec = plainSpec("demo:1", defaults);
const minute = 60_000;
const now = 100 * minute;

function shape(): Shape {
  return new Shape(shapeKey(spec), spec, { perShape: 3, idleMs: 10 * minute });
}

describe("Shape.target()", () => {
  test("is none for what was never asked for, or once", () => {
    const one = shape();
    expect(one.target(now)).toBe(0);
    one.asked(now, spec);
    expect(one.target(now)).toBe(0);
  });

  test("is as many as were asked for in the last minute, one at least, and no more than may wait", () => {
    const one = shape();
    one.asked(now - 5 * minute, spec);
    one.asked(now - 4 * minute, spec);
    expect(one.target(now)).toBe(1);
    one.asked(now - 1_000, spec);
    one.asked(now, spec);
    expect(one.target(now)).toBe(2);
    for (let times = 0; times < 10; times++) one.asked(now, spec);
    expect(one.target(now)).toBe(3);
  });

  test("is none again when nobody has asked for long, and after a clock that went back", () => {
    const one = shape();
    one.asked(now, spec);
    one.asked(now, spec);
    expect(one.target(now + 10 * minute)).toBe(0);
    expect(one.target(now - 1)).toBe(0);
  });

  test("is all that may wait for what is configured", () => {
    const one = shape();
    one.configure();
    expect(one.target(now)).toBe(3);
  });
});

test("Shape.lacks() is none for a while after it could not be prepared", () => {
  const one = shape();
  one.configure();
  one.restUntil(now);
  expect([one.lacks(now - 1), one.lacks(now)]).toEqual([0, 3]);
});

test("shapeKey() differs by all but what a container is told when it is taken", () => {
  const limits = { ...spec.limits, memoryBytes: 5n };
  const told = { command: ["a"], args: ["b"], env: { C: "d" }, workingDir: "/e", limits };
  expect(shapeKey({ ...spec, ...told })).toBe(shapeKey(spec));
  const networked = { ...spec, networkMode: "one", networks: ["more"] };
  expect(shapeKey(networked)).toBe(shapeKey({ ...spec, networkMode: "other" }));
  for (const other of [
    plainSpec("demo:2", defaults),
    { ...spec, networkMode: "one" },
    { ...spec, readOnlyRootfs: true },
    { ...spec, user: "app" },
  ]) {
    expect(shapeKey(other)).not.toBe(shapeKey(spec));
  }
});
