import { expect, test } from "bun:test";
import { echoProvider } from "../../src/assistant/echo-provider.ts";
import type { Piece, Said, ToolCall } from "../../src/assistant/provider.ts";
import { toolDeclarations } from "../../src/assistant/tools.ts";
import { Failure } from "../../src/failure.ts";

async function echo(said: Said, signal = new AbortController().signal): Promise<readonly Piece[]> {
  const pieces: Piece[] = [];
  const asked = { instructions: "", said: [said], tools: toolDeclarations(), signal };
  for await (const piece of echoProvider.step(asked)) pieces.push(piece);
  return pieces;
}

function textOf(pieces: readonly Piece[]): string {
  return pieces.map((piece) => (piece.kind === "text" ? piece.text : "")).join("");
}

function callsOf(pieces: readonly Piece[]): readonly Omit<ToolCall, "id">[] {
  return pieces.flatMap((piece) =>
    piece.kind === "call" ? [{ name: piece.call.name, input: piece.call.input }] : [],
  );
}

test.each([
  ["hello", 1],
  ["hello wide world", 3],
  ["  two\n\nlines \t", 3],
  [" ", 1],
  ["", 0],
  ["ünï 𝒸ode ✓ x", 4],
])("echoProvider gives %j back, word by word", async (text, count) => {
  const pieces = await echo({ by: "user", text });
  expect(textOf(pieces)).toBe(text);
  expect(pieces.length).toBe(count);
});

test("echoProvider runs what a question scripts", async () => {
  const asks = async (text: string) => callsOf(await echo({ by: "user", text }));
  expect(await asks("!run echo hi | wc -c")).toEqual([
    { name: "run_command", input: { command: "echo hi | wc -c" } },
  ]);
  expect(await asks("!python print(1)\nprint(2)")).toEqual([
    { name: "run_python", input: { code: "print(1)\nprint(2)" } },
  ]);
  expect(await asks("!read a.txt")).toEqual([{ name: "read_file", input: { path: "a.txt" } }]);
  expect(await asks("!list /tmp")).toEqual([{ name: "list_files", input: { path: "/tmp" } }]);
  expect(await asks("!write b.txt\none\ntwo\n")).toEqual([
    { name: "write_file", input: { path: "b.txt", content: "one\ntwo\n" } },
  ]);
  const fenced = "Please:\n```python\nprint(6 * 7)\n```\nand\n```sh\nls\n```\n";
  expect(await asks(fenced)).toEqual([
    { name: "run_python", input: { code: "print(6 * 7)\n" } },
    { name: "run_command", input: { command: "ls\n" } },
  ]);
  expect(await asks("!runner up")).toEqual([]);
});

test("echoProvider shows what tools have given in fences that it can't end", async () => {
  const results = [{ id: "c", name: "run_command", text: "a\n```\nb\n[exit code 0]" }];
  const text = textOf(await echo({ by: "tools", results }));
  expect(text).toBe("`run_command` says:\n\n````\na\n```\nb\n[exit code 0]\n````");
});

test("echoProvider fails in the question's words", async () => {
  const failing = echo({ by: "user", text: "!fail out of ideas" });
  expect(failing).rejects.toThrow(new Failure("unknown", "out of ideas"));
});

test("echoProvider waits until it is told not to", async () => {
  const stop = new AbortController();
  const waiting = echo({ by: "user", text: "!wait 1d" }, stop.signal);
  stop.abort(new Failure("cancelled", "enough"));
  expect(waiting).rejects.toThrow("enough");
});
