import { expect, test } from "bun:test";
import { canonicalJson } from "../src/canonical-json.ts";

test("canonicalJson() gives the same text whatever the order of names, at every depth", () => {
  const one = { b: 1, a: { d: [{ y: 1n, x: null }], c: true } };
  const two = { a: { c: true, d: [{ x: null, y: 1n }] }, b: 1 };
  expect(canonicalJson(one)).toBe(canonicalJson(two));
  expect(canonicalJson(one)).toBe('{"a":{"c":true,"d":[{"x":null,"y":"1n"}]},"b":1}');
});

test("canonicalJson() tells other content apart", () => {
  const texts = [
    {},
    [],
    { a: [] },
    { a: {} },
    { a: [1, 2] },
    { a: [2, 1] },
    { a: "" },
    { a: null },
    "a",
    0,
    false,
  ];
  expect(new Set(texts.map(canonicalJson)).size).toBe(texts.length);
});
