import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type TaskConfigSchema, TaskSchema, TaskType } from "../../../src/gen/proto/agent/v1/agent_pb.ts";
import { fileCommand } from "../../../src/worker/container/file-operations.ts";
import { checkOperations } from "../../../src/worker/container/operations.ts";
import { type Plan, planOf } from "../../../src/worker/container/plan.ts";
import { DEFAULT_TABLE, tableWith } from "../../../src/worker/container/table.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function plan(type: TaskType, config: MessageInitShape<typeof TaskConfigSchema>): Plan {
  return planOf(create(TaskSchema, { type, config }), DEFAULT_TABLE);
}
const code = (config: MessageInitShape<typeof TaskConfigSchema>) => plan(TaskType.CODE_EXECUTION, config);

describe("planOf() of code", () => {
  test("runs a command as it is, in the image of its language or the table's", () => {
    expect(code({ command: "python3", arguments: ["-V"] })).toMatchObject({
      place: { image: "python:3.11-slim" },
      command: ["python3", "-V"],
      code: undefined,
    });
    expect(code({ command: "/bin/date", arguments: ["-u"] })).toMatchObject({
      place: { image: "busybox:1" },
      operations: [["execute", "execute:date", "code-execution"]],
    });
    expect(code({ command: "date", parameters: { image: "debian:12" } })).toMatchObject({
      place: { image: "debian:12" },
    });
  });

  test("without a command runs a program in Python: the code, else the input data, else the first input", () => {
    const command = ["python3", "-u", "/task/main.py"];
    expect(code({ parameters: { code: "1" }, inputData: bytes("in") })).toMatchObject({
      command,
      code: { file: "main.py", text: bytes("1") },
      stdin: { kind: "data", data: bytes("in") },
    });
    expect(code({ inputData: bytes("2") })).toMatchObject({
      command,
      code: { text: bytes("2") },
      stdin: { kind: "stream", first: new Uint8Array(0) },
    });
    expect(code({})).toMatchObject({ command, code: { text: "first_input" }, stdin: { kind: "stream" } });
  });

  test("takes an interpreter without words for its language", () => {
    expect(code({ command: "node" })).toMatchObject({
      place: { image: "node:22-slim" },
      command: ["node", "/task/main.js"],
      code: { text: "first_input" },
    });
  });

  test("hands words to a program", () => {
    expect(code({ parameters: { code: "x", language: "js" }, arguments: ["a"] })).toMatchObject({
      command: ["node", "/task/main.js", "a"],
    });
  });

  test("names a language that it does not have", () => {
    expect(() => code({ parameters: { language: "cobol" } })).toThrow(
      /language has to be one of python, .* not "cobol"/,
    );
  });

  test("takes input_data for stdin, for its beginning or for a file", () => {
    const inputData = bytes("x");
    const stdin = (parameters: Record<string, string>) =>
      code({ command: "cat", arguments: ["-"], inputData, parameters });
    expect(stdin({})).toMatchObject({ stdin: { kind: "data" } });
    expect(stdin({ input: "stream" })).toMatchObject({ stdin: { kind: "stream", first: inputData } });
    expect(stdin({ input: "file" })).toMatchObject({ stdin: { kind: "file", path: "/task/input" } });
    expect(() => stdin({ input: "pigeon" })).toThrow(/input has to be stdin, stream or file, not "pigeon"/);
    expect(code({ command: "cat", arguments: ["-"] })).toMatchObject({ stdin: { kind: "stream" } });
  });

  test("asks for a network as an operation of its own", () => {
    expect(code({ command: "date", parameters: { network: "true" } })).toMatchObject({
      network: true,
      operations: [["execute", "execute:date", "code-execution"], ["network"]],
    });
    expect(() => code({ command: "date", parameters: { network: "yes" } })).toThrow(
      /network has to be true or false/,
    );
  });
});

describe("planOf() of other types", () => {
  test("says what data processing lacks", () => {
    expect(() => plan(TaskType.DATA_PROCESSING, { inputData: bytes("x") })).toThrow(
      /config.command or parameters.code/,
    );
  });

  test("says which types are not done", () => {
    expect(() => plan(TaskType.NETWORK_REQUEST, {})).toThrow(/does no TASK_TYPE_NETWORK_REQUEST/);
  });

  test("lists what can be done with files and containers", () => {
    expect(() => plan(TaskType.FILE_OPERATION, { command: "burn", arguments: ["/x"] })).toThrow(
      /one of read, list, stat, write, append, mkdir, delete, copy, move, not "burn"/,
    );
    expect(() => plan(TaskType.CONTAINER_OPERATION, { command: "burn" })).toThrow(
      /one of exec, create, list/,
    );
    expect(() => plan(TaskType.CONTAINER_OPERATION, { command: "exec", arguments: ["c1"] })).toThrow(
      /no command/,
    );
    expect(() => plan(TaskType.CONTAINER_OPERATION, { command: "stop" })).toThrow(/stop needs one/);
  });

  test("takes operation and paths from parameters too", () => {
    const parameters = { operation: "copy", path: "/a", to: "/b", container: "c1" };
    expect(plan(TaskType.FILE_OPERATION, { parameters })).toMatchObject({
      place: { container: "c1" },
      command: ["cp", "-R", "--", "/a", "/b"],
      operations: [["copy", "file:copy", "file-operation"]],
    });
  });

  test("calls a tool of the table with the task's words", () => {
    expect(plan(TaskType.TOOL_EXECUTION, { command: "sort", arguments: ["-r"] })).toMatchObject({
      place: { image: "busybox:1" },
      command: ["sort", "-r"],
      operations: [["tool", "tool:sort", "tool-execution"]],
    });
    expect(() => plan(TaskType.TOOL_EXECUTION, { command: "constructor" })).toThrow(
      /Cannot call tool "constructor"/,
    );
  });
});

test("fileCommand() counts paths", () => {
  expect(() => fileCommand("read", [])).toThrow(/one path for read, not 0 words/);
  expect(() => fileCommand("move", ["/a"])).toThrow(/two paths, from and to for move, not 1 words/);
  expect(() => fileCommand("toString", ["/a"])).toThrow(/not "toString"/);
});

describe("checkOperations()", () => {
  const operations = [["execute", "execute:python3"], ["network"]] as const;
  const bounds = (allowedOperations: string[], deniedOperations: string[] = []) => ({
    allowedOperations,
    deniedOperations,
  });

  test("allows everything when nothing is said", () => {
    expect(() => checkOperations(operations, undefined)).not.toThrow();
    expect(() => checkOperations(operations, bounds([]))).not.toThrow();
  });

  test("wants one name of each operation to be allowed, and none denied", () => {
    expect(() => checkOperations(operations, bounds(["execute", "network"]))).not.toThrow();
    expect(() => checkOperations(operations, bounds(["execute:python3", "network"]))).not.toThrow();
    expect(() => checkOperations(operations, bounds(["execute"]))).toThrow(
      /Cannot do "network": .*allowed_operations/,
    );
    expect(() => checkOperations(operations, bounds([], ["execute:python3"]))).toThrow(
      /denied_operations has "execute:python3"/,
    );
    expect(() => checkOperations(operations, bounds(["execute", "network"], ["network"]))).toThrow(
      /denied_operations/,
    );
  });
});

describe("tableWith()", () => {
  const nothing = { languages: {}, tools: {}, image: undefined };

  test("changes an image and keeps the words, or changes both", () => {
    const { languages } = tableWith(DEFAULT_TABLE, {
      ...nothing,
      languages: { python: "python:3.13", lua: "lua:5.4 lua -W" },
    });
    expect(languages.python).toEqual({ image: "python:3.13", command: ["python3", "-u"], file: "main.py" });
    expect(languages.lua).toEqual({ image: "lua:5.4", command: ["lua", "-W"], file: "main" });
    expect(languages.ruby).toEqual(DEFAULT_TABLE.languages.ruby);
  });

  test("wants words for what is new", () => {
    expect(() => tableWith(DEFAULT_TABLE, { ...nothing, tools: { jq: "jq:1" } })).toThrow(
      /tool jq has to be an image and/,
    );
    expect(tableWith(DEFAULT_TABLE, { ...nothing, tools: { jq: "jq:1 jq" } }).tools.jq).toEqual({
      image: "jq:1",
      command: ["jq"],
    });
  });
});
