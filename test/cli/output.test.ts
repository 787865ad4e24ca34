import { expect, test } from "bun:test";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { cell, printable } from "../../src/cli/cell.ts";
import { FORMATS, type Format, hasColours, printer, serialised } from "../../src/cli/output.ts";
import { table } from "../../src/cli/table.ts";
import {
  enumNumber,
  enumWord,
  enumWords,
  limitText,
  pairsText,
  spanText,
  timeCell,
} from "../../src/cli/words.ts";
import { SessionState, SessionStateSchema } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { QUIET_SHELL, recorded } from "./command-line.ts";

interface Fruit {
  readonly name: string;
  readonly count: number;
}

const FRUIT: readonly Fruit[] = [
  { name: "fig", count: 12 },
  { name: "Kürbis 南瓜", count: 3 },
];

const COLUMNS = [
  { title: "NAME", of: ({ name }: Fruit) => cell(name) },
  { title: "COUNT", of: ({ count }: Fruit) => cell(String(count)) },
];

async function listed(flags: { output?: Format; noHeaders?: boolean; quiet?: boolean }): Promise<string> {
  const out = recorded();
  const shell = { ...QUIET_SHELL, out: out.output };
  const given = { output: "table" as const, noHeaders: false, quiet: false, verbose: false, ...flags };
  await printer(shell, given).list({
    items: FRUIT,
    columns: COLUMNS,
    id: ({ name }) => name,
    itemValue: (fruit) => ({ ...fruit }),
    value: () => ({ fruit: FRUIT.map((one) => ({ ...one })) }),
  });
  return out.text();
}

test("printer() aligns a table by what is seen, with nothing behind a line's end", async () => {
  expect(await listed({})).toBe("NAME         COUNT\nfig          12\nKürbis 南瓜  3\n");
  expect(await listed({ noHeaders: true })).toBe("fig          12\nKürbis 南瓜  3\n");
});

test("printer() writes ids alone when it is to be quiet, whatever the format", async () => {
  for (const output of FORMATS) expect(await listed({ output, quiet: true })).toBe("fig\nKürbis 南瓜\n");
});

test("printer() writes JSON, lines of JSON, and YAML", async () => {
  expect(JSON.parse(await listed({ output: "json" }))).toEqual({ fruit: FRUIT });
  const lines = (await listed({ output: "jsonl" })).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toEqual([...FRUIT]);
  expect(Bun.YAML.parse(await listed({ output: "yaml" }))).toEqual({ fruit: FRUIT });
});

test("serialised() quotes in YAML what its readers take for something else", async () => {
  const value = { at: "2026-01-31T12:00:00Z", answer: "no", octal: "0o17", text: "a\nb" };
  const text = await serialised(value, "yaml");
  expect(text).toContain('at: "2026-01-31T12:00:00Z"');
  expect(text).toContain('answer: "no"');
  expect(Bun.YAML.parse(text)).toEqual(value);
});

test("table() cuts the last column to the terminal's width, and nothing else", () => {
  const style = { headers: false, colours: false, width: 24 };
  const columns = [
    { title: "ID", of: () => cell("0192f3a4") },
    { title: "TEXT", of: (text: string) => cell(text) },
  ];
  expect(table(["what a long message"], { columns, style })).toBe("0192f3a4  what a long m…\n");
  expect(table(["short"], { columns, style })).toBe("0192f3a4  short\n");
});

test("table() shortens ids where the last column would say too little, those of other things first", () => {
  const ids = { id: "01a21e39-3ac2-77f1-ac03-81b7c8a1e042", other: "01a21e30-34bb-73ff-9b63-2381e362dee2" };
  const columns = [
    { title: "ID", of: ({ id }: typeof ids) => cell(id), isId: true as const },
    { title: "OTHER", of: ({ other }: typeof ids) => cell(other), isId: true as const },
    { title: "TEXT", of: () => cell("what a long message it is") },
  ];
  const shown = (width: number | undefined) =>
    table([ids], { columns, style: { headers: false, colours: false, width } });
  const text = "what a long message it is";
  expect(shown(undefined)).toBe(`${ids.id}  ${ids.other}  ${text}\n`);
  expect(shown(101)).toBe(`${ids.id}  ${ids.other}  ${text}\n`);
  expect(shown(99)).toBe(`${ids.id}  01a21e30-34bb  ${text}\n`);
  expect(shown(76)).toBe(`01a21e39-3ac2  01a21e30-34bb  ${text}\n`);
  expect(shown(44)).toBe("01a21e39-3ac2  01a21e30-34bb  what a long m…\n");
});

test("printable() shows what a terminal would obey", () => {
  expect(printable("a\u001b]0;owned\u0007b\r\n\u009b2J\u202edcba\ud800")).toBe(
    "a\\u001b]0;owned\\u0007b\\r\\n\\u009b2J\\u202edcba\ufffd",
  );
  expect(printable("Grüße, 世界 👋🏽")).toBe("Grüße, 世界 👋🏽");
});

test("hasColours() is true on a terminal alone, unless the environment forbids it", () => {
  const terminal = recorded(80).output;
  expect(hasColours(terminal, {})).toBeTrue();
  expect(hasColours(terminal, { NO_COLOR: "" })).toBeTrue();
  expect(hasColours(terminal, { NO_COLOR: "1" })).toBeFalse();
  expect(hasColours(terminal, { TERM: "dumb" })).toBeFalse();
  expect(hasColours(recorded().output, {})).toBeFalse();
});

test("enumWord() and enumNumber() know an enum by the words of people", () => {
  expect(enumWord(SessionStateSchema, SessionState.ACTIVE)).toBe("active");
  expect(enumWord(SessionStateSchema, 4242)).toBe("4242");
  expect(enumWords(SessionStateSchema)).toEqual(["initializing", "active", "idle", "closing", "closed"]);
  expect(enumNumber(SessionStateSchema, "closed")).toBe(SessionState.CLOSED);
  expect(enumNumber(SessionStateSchema, undefined)).toBe(SessionState.UNSPECIFIED);
});

test.each([
  [0, "0ms"],
  [999, "999ms"],
  [1500, "1.5s"],
  [59_999, "59s"],
  [200_000, "3m20s"],
  [3_600_000, "1h"],
  [3_661_000, "1h1m"],
  [90_061_000, "1d1h"],
])("spanText() says %d ms as %s", (ms, text) => {
  expect(spanText(ms)).toBe(text);
});

test("limitText() says none for what is not limited", () => {
  expect(limitText(0n)).toBe("none");
  expect(limitText(3_600_000_000_000n)).toBe("1h");
});

test("timeCell() is relative where it is read at once, and whole where it may be read later", () => {
  const at = timestampFromDate(new Date("2026-01-31T12:00:00.250Z"));
  const now = Date.parse("2026-01-31T12:03:20.250Z");
  expect(timeCell(at, { now, relative: true }).text).toBe("3m ago");
  expect(timeCell(at, { now: Date.parse("2026-01-31T10:00:00Z"), relative: true }).text).toBe("in 2h");
  expect(timeCell(at, { now, relative: false }).text).toBe("2026-01-31T12:00:00Z");
  expect(timeCell(undefined, { now, relative: true }).text).toBe("-");
});

test("pairsText() quotes what would be read as two", () => {
  expect(pairsText({ a: "b", c: "d e", f: "" })).toBe('a=b c="d e" f=""');
});
