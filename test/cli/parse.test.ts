import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Command, command, commandWords, manyWords, optionalWord, word } from "../../src/cli/command.ts";
import { choice, int, list, pairs, text, toggle } from "../../src/cli/flag.ts";
import { parse } from "../../src/cli/parse.ts";

const words = { session: word({ about: "a session" }), note: optionalWord({ about: "a note" }) };
const flags = {
  name: text({ about: "a name", short: "n" }),
  maxContainers: int({ about: "how many", min: 1 }),
  label: pairs({ about: "a label", short: "l" }),
  tag: list({ about: "a tag" }),
  state: choice({ about: "a state", choices: ["active", "closed"] }),
  force: toggle({ about: "force it", short: "f" }),
  quiet: toggle({ about: "ids only", short: "q" }),
  socket: text({ about: "a socket", variable: "SOCKET" }),
};

const plain = command({ name: "get", summary: "get it", words, flags, examples: [], run: async () => 0 });
const wrapping = command({
  name: "exec",
  summary: "run it",
  words: { box: word({ about: "a box" }), command: commandWords({ about: "a command", optional: false }) },
  flags,
  examples: [],
  run: async () => 0,
});

/** What is read, as plain objects. */
function read(args: readonly string[], of: Command = plain, env: Record<string, string> = {}) {
  const parsed = parse(of, args, env);
  if (parsed.help) return "help";
  return { flags: Object.fromEntries(parsed.flags), words: Object.fromEntries(parsed.words) };
}

test.each([
  [["s", "--name", "x"], { name: ["x"] }],
  [["s", "--name=x"], { name: ["x"] }],
  [["s", "--name="], { name: [""] }],
  [["s", "-n", "x"], { name: ["x"] }],
  [["s", "-nx"], { name: ["x"] }],
  [["s", "-n=x"], { name: ["x"] }],
  [["-fq", "s"], { force: ["true"], quiet: ["true"] }],
  [["-fqn", "x", "s"], { force: ["true"], quiet: ["true"], name: ["x"] }],
  [["s", "--force=false"], { force: ["false"] }],
  [["s", "--max-containers", "-3"], { maxContainers: ["-3"] }],
  [["s", "--label", "a=b", "-l", "c=d"], { label: ["a=b", "c=d"] }],
  [["s", "--name=--force"], { name: ["--force"] }],
  [["s", "--name", "-"], { name: ["-"] }],
])("parse() reads %j", (args, expected) => {
  expect(read(args)).toEqual({ flags: expected, words: { session: ["s"], note: [] } });
});

test.each([
  [["s", "--nam", "x"], "unknown flag --nam; did you mean --name?"],
  [["s", "--stat", "x"], "unknown flag --stat; did you mean --state?"],
  [["s", "--zzzzzz"], "unknown flag --zzzzzz"],
  [["s", "-z"], "unknown flag -z"],
  [["s", "--name"], "flag --name needs a value: --name TEXT"],
  [
    ["s", "--name", "--force"],
    'flag --name needs a value: --name TEXT; if it is "--force", write --name=--force',
  ],
  [["s", "--name", "a", "--name", "b"], "flag --name was given twice"],
  [["s", "-f", "--force"], "flag --force was given twice"],
  [["s", "--force=perhaps"], "flag --force takes no value"],
  [["s", "a", "b"], 'unexpected word "b"; it takes only SESSION NOTE'],
  [[], "SESSION is missing: a session"],
  [["--name", "x"], "SESSION is missing: a session"],
])("parse() refuses %j", (args, message) => {
  expect(() => read(args)).toThrow(message);
});

test("parse() lets help win over whatever is wrong", () => {
  expect(read(["--help"])).toBe("help");
  expect(read(["-fh"])).toBe("help");
  expect(read(["--bogus", "a", "b", "c", "--help"])).toBe("help");
});

test("parse() reads nothing but words behind --", () => {
  expect(read(["--", "--name", "-f"])).toEqual({ flags: {}, words: { session: ["--name"], note: ["-f"] } });
});

test.each([
  [["b", "ls", "-la", "--name", "x", "--help", "--"], ["ls", "-la", "--name", "x", "--help", "--"], {}],
  [["b", "--", "-x", "--", "y"], ["-x", "--", "y"], {}],
  [["-f", "b", "--name", "x", "ls", "-f"], ["ls", "-f"], { force: ["true"], name: ["x"] }],
  [["b", "-f", "--", "ls"], ["ls"], { force: ["true"] }],
])("parse() leaves somebody else's command line alone: %j", (args, expected, given) => {
  expect(read(args, wrapping)).toEqual({ flags: given, words: { box: ["b"], command: expected } });
});

test("parse() hands a command line on exactly, whatever is in it", () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), (line) => {
      expect(read(["b", "--", ...line], wrapping)).toEqual({
        flags: {},
        words: { box: ["b"], command: line },
      });
    }),
  );
});

test("parse() throws nothing but failures that a person can act on", () => {
  const pieces = fc.oneof(
    fc.constantFrom("--name", "-n", "-fq", "--", "-", "--force", "--label", "a=b", "s", "--=", "-=", "---"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(pieces), (args) => {
      try {
        read(args);
      } catch (error) {
        expect(error).toMatchObject({ kind: "invalid_argument", details: { reason: "USAGE" } });
      }
    }),
  );
});

test("parse() takes a flag's variable when the flag is not given", () => {
  expect(read(["s"], plain, { SOCKET: "/a" })).toMatchObject({ flags: { socket: ["/a"] } });
  expect(read(["s", "--socket", "/b"], plain, { SOCKET: "/a" })).toMatchObject({ flags: { socket: ["/b"] } });
  expect(read(["s"], plain, { SOCKET: "" })).toMatchObject({ flags: {} });
});

test("parse() refuses a word that is none of a fixed set", () => {
  const shell = command({
    name: "completion",
    summary: "write it",
    words: {
      shell: word({ about: "the shell", choices: ["bash", "zsh"] }),
      more: manyWords({ about: "more", optional: true }),
    },
    flags: {},
    examples: [],
    run: async () => 0,
  });
  expect(() => read(["bsh"], shell)).toThrow('SHELL can\'t be "bsh"; did you mean bash?');
});
