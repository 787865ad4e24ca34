import { expect, test } from "bun:test";
import {
  anyText,
  choice,
  cores,
  duration,
  type Flag,
  instant,
  int,
  json,
  list,
  pairs,
  requiredText,
  size,
  someOf,
  text,
  toggle,
  withDefault,
} from "../../src/cli/flag.ts";

const about = "something";

test.each<[string, Flag<unknown>, readonly string[], unknown]>([
  ["int", int({ about }), ["42"], 42],
  ["int", int({ about }), [], undefined],
  ["cores", cores({ about }), ["0.5"], 500_000_000n],
  ["cores", cores({ about }), ["16"], 16_000_000_000n],
  ["duration", duration({ about }), ["1h30m"], 5_400_000],
  ["size", size({ about }), ["512m"], 536_870_912n],
  ["size", size({ about }), ["1GB"], 1_000_000_000n],
  ["instant", instant({ about, now: () => 600_000 }), ["10m"], new Date(0)],
  ["instant", instant({ about }), ["2026-01-31T12:00:00+01:00"], new Date("2026-01-31T11:00:00Z")],
  ["choice", choice({ about, choices: ["container-created"] }), ["CONTAINER_CREATED"], "container-created"],
  ["someOf", someOf({ about, choices: ["a", "b", "c"] }), ["a,b", "c"], ["a", "b", "c"]],
  ["list", list({ about }), ["a,b", "c"], ["a,b", "c"]],
  ["pairs", pairs({ about }), ["a=", "b=c=d"], { a: "", b: "c=d" }],
  ["json", json({ about }), ['{"a":1}'], { a: 1 }],
  ["text", text({ about }), ["a"], "a"],
  ["anyText", anyText({ about }), [""], ""],
  ["toggle", toggle({ about }), ["true"], true],
  ["toggle", toggle({ about }), [], false],
  ["withDefault", withDefault(duration({ about }), "10s"), [], 10_000],
  ["withDefault", withDefault(duration({ about }), "10s"), ["1s"], 1000],
])("%s() reads its words", (_, flag, given, expected) => {
  expect(flag.read(given)).toEqual(expected);
});

test.each<[string, Flag<unknown>, readonly string[], string]>([
  ["int", int({ about, min: 1, max: 9 }), ["10"], 'has to be a whole number from 1 to 9, not "10"'],
  ["int", int({ about }), ["1e3"], "whole number"],
  ["int", int({ about }), [""], "whole number"],
  ["cores", cores({ about }), ["-1"], "number of cores"],
  ["duration", duration({ about }), ["90"], "such as 90s"],
  ["size", size({ about }), ["12 apples"], "such as 512m"],
  ["instant", instant({ about }), ["yesterday"], 'not "yesterday"'],
  ["instant", instant({ about }), ["2026-13-45"], "has to be"],
  ["choice", choice({ about, choices: ["active", "closed"] }), ["activ"], "did you mean active?"],
  ["choice", choice({ about, choices: ["active", "closed"] }), ["x"], "one of active, closed"],
  ["someOf", someOf({ about, choices: ["a", "b"] }), ["a,"], 'can\'t be ""'],
  ["pairs", pairs({ about }), ["=b"], "has to be KEY=VALUE"],
  ["pairs", pairs({ about }), ["a=1", "a=2"], 'has the key "a" twice'],
  ["text", text({ about }), [""], "is empty"],
  ["list", list({ about }), ["a", ""], "is empty"],
  ["requiredText", requiredText({ about }), [""], "is empty"],
  ["choice", choice({ about, choices: ["active", "closed"] }), ["activ"], "It is one of active, closed"],
  ["json", json({ about }), ["{"], "has to be JSON, but is wrong at its end"],
  ["json", json({ about }), ["[]"], "has to be a JSON object"],
  ["requiredText", requiredText({ about }), [], "is missing: something"],
])("%s() says what is wrong with its words", (_, flag, given, message) => {
  expect(() => flag.read(given)).toThrow(message);
});
