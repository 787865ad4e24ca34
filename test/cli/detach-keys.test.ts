import { describe, expect, test } from "bun:test";
import { DetachKeys, readDetachKeys } from "../../src/cli/detach-keys.ts";
import { USAGE } from "../../src/cli/flag.ts";
import { thrown } from "../client/thrown.ts";

const P = "\x10";
const Q = "\x11";

describe("readDetachKeys()", () => {
  test.each([
    ["ctrl-p,ctrl-q", [16, 17]],
    ["ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", [0, 27, 28, 29, 30, 31]],
    ["CTRL-A,a", [1, 97]],
    ["~,.", [126, 46]],
    ["", []],
  ])("reads %p", (text, bytes) => {
    expect([...readDetachKeys(text)]).toEqual(bytes);
  });

  test.each(["ctrl-1", "ctrl-", "ab", "ctrl-p,", ",", "ü", " "])("refuses %p", async (text) => {
    const failure = await thrown(async () => void readDetachKeys(text));
    expect([failure.details.reason, failure.message]).toEqual([
      USAGE,
      expect.stringContaining("ctrl-p,ctrl-q"),
    ]);
  });
});

describe("DetachKeys", () => {
  test.each([
    ["passes what is not the keys", ["abc"], "abc", false],
    ["hears the keys, and passes nothing of them", [`ab${P}${Q}`], "ab", true],
    ["hears them from chunk to chunk", ["a", P, Q], "a", true],
    ["passes the first one when another follows", [`${P}x`], `${P}x`, false],
    ["holds the first one back until it is clear", [P], "", false],
    ["begins anew with a first one that follows a first one", [`${P}${P}${Q}`], P, true],
    ["passes the second one alone", [Q], Q, false],
    ["passes nothing of what follows the keys", [`${P}${Q}rest`], "", true],
  ] as const)("%s", (_, typed, passed, isDetached) => {
    const keys = new DetachKeys(readDetachKeys("ctrl-p,ctrl-q"));
    const taken = typed.map((chunk) => keys.take(Buffer.from(chunk)));
    expect(Buffer.concat(taken.map((one) => one.passed)).toString()).toBe(passed);
    expect(taken.at(-1)?.isDetached).toBe(isDetached);
  });

  test("without keys passes everything as it is", () => {
    const typed = Buffer.from(`${P}${Q}`);
    expect(new DetachKeys(readDetachKeys("")).take(typed)).toEqual({ passed: typed, isDetached: false });
  });
});
