import { expect, test } from "bun:test";
import { join } from "node:path";
import {
  createLog,
  type LogFields,
  type LogLevel,
  type LogOptions,
  logFormat,
} from "../../src/daemon/log.ts";

const NOON = new Date(2026, 0, 2, 12, 0, 0, 5);

/** A log and the lines it has written. */
function collect(format: LogOptions["format"], level: LogLevel = "debug") {
  const lines: string[] = [];
  return {
    log: createLog({ level, format, write: (line) => void lines.push(line), clock: () => NOON }),
    lines,
  };
}

/** The one JSON line that logging `fields` makes. */
function logged(fields: LogFields): Record<string, unknown> {
  const { log, lines } = collect("json");
  log.info("x", fields);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toEndWith("\n");
  return JSON.parse(lines[0] ?? "");
}

test("createLog() writes a JSON object a line", () => {
  expect(logged({ session: "0192", count: 3, ok: true })).toEqual({
    time: NOON.toISOString(),
    level: "info",
    message: "x",
    session: "0192",
    count: 3,
    ok: true,
  });
});

test("createLog() writes text that people read", () => {
  const { log, lines } = collect("text");
  log
    .with({ session: "0192" })
    .warn("a reader is slow", { note: "two words", ms: 12, limits: { a: [1] }, gone: undefined });
  expect(lines).toEqual([
    '2026-01-02 12:00:00.005 WARN  a reader is slow session=0192 note="two words" ms=12 limits={"a":[1]}\n',
  ]);
});

test("createLog() colours level, time and names only when it is told to", () => {
  const { log, lines } = collect("colored text");
  log.error("x", { a: 1 });
  expect(lines[0]).toContain("\u001b[31mERROR\u001b[0m");
  expect(Bun.stripANSI(lines[0] ?? "")).toBe("2026-01-02 12:00:00.005 ERROR x a=1\n");
});

test("createLog() leaves out what is below the level, which can change for every log made from it", () => {
  const { log, lines } = collect("json", "warn");
  const child = log.with({ part: "child" });
  child.info("not this");
  log.setLevel("debug");
  child.debug("this");
  log.setLevel("error");
  child.warn("not this either");
  expect(lines.map((line) => JSON.parse(line).message)).toEqual(["this"]);
});

test("createLog() puts an error with its stack, causes and inner errors into one field", () => {
  const cause = new AggregateError([new RangeError("inner")], "middle", { cause: "a text" });
  const { error } = logged({ error: new TypeError("outer", { cause }) });
  const text = String(error);
  expect(text).toStartWith("TypeError: outer\n    at ");
  expect(text).toContain("log.test.ts:");
  expect(text).toContain("Caused by: AggregateError: middle\n");
  expect(text).toContain("Caused by: a text");
  expect(text).toContain("Caused by: RangeError: inner");

  const { log, lines } = collect("text");
  log.error("failed", { error: new Error("a reason"), after: 1 });
  expect(lines[0]).toMatch(/ERROR failed error="Error: a reason" after=1\n {4}at .*log\.test\.ts/);
});

test("createLog() never throws, whatever the fields hold", () => {
  const circle: Record<string, unknown> = { name: "circle" };
  circle.self = circle;
  const hostile = {
    get trap(): never {
      throw new Error("do not look");
    },
  };
  const refuse = (): never => {
    throw new Error("no");
  };
  const forbidden = new Proxy({}, { ownKeys: refuse, get: refuse, has: refuse, getPrototypeOf: refuse });
  const badError = new Error("x");
  Object.defineProperty(badError, "message", { get: refuse });

  expect(
    logged({
      circle,
      forbidden,
      badError,
      hostile,
      big: 2n ** 64n,
      small: 5n,
      nan: Number.NaN,
      symbol: Symbol("s"),
      run: () => 1,
      date: new Date(Number.NaN),
      bytes: new Uint8Array(9),
      map: new Map<unknown, unknown>([[{ key: 1 }, new Set([1])]]),
      json: { toJSON: refuse },
      nothing: null,
      absent: undefined,
    }),
  ).toMatchObject({
    circle: { name: "circle", self: "[circular]" },
    forbidden: "[unreadable]",
    badError: "[unreadable]",
    hostile: "[unreadable]",
    big: "18446744073709551616",
    small: 5,
    nan: "NaN",
    symbol: "Symbol(s)",
    run: "[function]",
    date: "[invalid date]",
    bytes: "[9 bytes]",
    map: { "[object Object]": [1] },
    json: "[unreadable]",
    nothing: null,
  });
  for (const format of ["json", "text"] as const) {
    const { log, lines } = collect(format);
    log.info("x", hostile);
    log.with(forbidden).info("x", { circle, forbidden, badError });
    expect(lines).toHaveLength(2);
  }
});

test("createLog() bounds a line, however large, deep or wide its fields are", () => {
  let deep: unknown = "bottom";
  for (let n = 0; n < 100_000; n++) deep = [deep];
  const { log, lines } = collect("json");
  log.info("x", { long: "é".repeat(1_000_000) });
  log.info("x", { deep });
  log.info("x", { wide: Array.from({ length: 1_000_000 }, (_, n) => n) });
  expect(lines.map((line) => line.length < 40_000)).toEqual([true, true, true]);
});

test("createLog() keeps its own names from fields that have the same", () => {
  expect(logged({ level: "error", time: 1, message: "fake", __proto__: null })).toMatchObject({
    level: "info",
    message: "x",
    level_: "error",
    time_: 1,
    message_: "fake",
  });
});

test("createLog() lets nobody's text control the terminal or make a line of its own", () => {
  const { log, lines } = collect("text");
  const nasty = "\u001b[2J\n2026 INFO fake\r\u009b\u202e\u0000\ud800";
  log.info(nasty, { [nasty]: nasty, list: [nasty], error: new Error(nasty) });
  const [line = ""] = lines;
  const [first = "", ...stack] = line.trimEnd().split("\n");
  expect(first).toContain("\\u001b[2J");
  expect(stack.every((frame) => frame.startsWith("    "))).toBe(true);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(line).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\ud800]/);
});

test("logFormat() is JSON where nobody looks, and as it was asked for", () => {
  const file = { fd: -1, env: {} };
  expect(logFormat("auto", file)).toBe("json");
  expect(logFormat("text", file)).toBe("text");
  expect(logFormat("json", file)).toBe("json");
});

function probe(how: string) {
  return Bun.spawn([process.execPath, join(import.meta.dir, "log-probe.ts"), how], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function linesOf(stream: ReadableStream<Uint8Array>): Promise<readonly Record<string, unknown>[]> {
  return (await new Response(stream).text())
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("LogOutput has written all lines in order when the process exits", async () => {
  const child = probe("exit");
  const lines = await linesOf(child.stderr);
  expect(lines.map(({ n }) => n)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
  expect(await child.exited).toBe(7);
});

test("LogOutput has written the last line when the process exits, however long it had nothing to write", async () => {
  const child = probe("exit late");
  expect((await linesOf(child.stderr)).map(({ message }) => message)).toEqual(["first", "last"]);
  expect(await child.exited).toBe(7);
});

test("LogOutput has written all lines when it is disposed, even if the process is killed then", async () => {
  const child = probe("dispose");
  const lines = await linesOf(child.stderr);
  expect(lines.map(({ n }) => n)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
});

test("LogOutput holds nobody up when its reader stalls, and counts what it had to drop", async () => {
  const child = probe("flood");
  const output = child.stdout.getReader();
  // Said after 12 MiB of lines, while nobody reads them.
  expect(new TextDecoder().decode((await output.read()).value)).toBe("still here\n");
  const reading = linesOf(child.stderr);
  child.stdin.end();
  const lines = await reading;
  const dropped = lines.find(({ message }) => message === "dropped");
  const kept = lines.filter(({ message }) => message === "line").map(({ n }) => n);
  expect(kept).toEqual(Array.from({ length: kept.length }, (_, n) => n));
  expect(kept.length + Number(dropped?.lines)).toBe(12_288);
  expect(await child.exited).toBe(0);
});

test("LogOutput lets the process end when its reader never reads or is gone", async () => {
  const stalled = probe("flood");
  stalled.stdin.end();
  expect(await stalled.exited).toBe(0);

  const gone = probe("flood");
  await gone.stderr.cancel();
  gone.stdin.end();
  expect(await gone.exited).toBe(0);
});
