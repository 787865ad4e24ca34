import { expect, test } from "bun:test";
import { typed } from "./command-line.ts";

test.each([
  [["sesion", "list"], 'unknown command "baaaht sesion"; did you mean "session"?', "baaaht --help"],
  [["session", "lst"], 'unknown command "baaaht session lst"; did you mean "list"?', "baaaht session --help"],
  [["toString"], 'unknown command "baaaht toString"', "baaaht --help"],
  [["session", "constructor"], 'unknown command "baaaht session constructor"', "baaaht session --help"],
  [["session"], 'a command is missing behind "baaaht session": create, list', "baaaht session --help"],
  [["--bogus", "session", "list"], "unknown flag --bogus", "baaaht --help"],
  [["session", "--bogus", "list"], "unknown flag --bogus", "baaaht session --help"],
  [["session", "list", "--sesion"], "unknown flag --sesion", "baaaht session list --help"],
  [["session", "list", "extra"], 'unexpected word "extra"; it takes no words', "baaaht session list --help"],
  [["session", "list", "--state", "activ"], "did you mean active?", "baaaht session list --help"],
  [["session", "update", "x"], "nothing to change", "baaaht session update --help"],
  [
    ["session", "create", "--config", '{"maxContainer":1}'],
    '--config has to be the JSON of SessionConfig: key "maxContainer" is unknown',
    "session create --help",
  ],
  [["container", "create", "image"], "--session is missing", "baaaht container create --help"],
  [["event", "watch", "--since", "1m", "--from-start"], "only one of --since", "baaaht event watch --help"],
  [["help", "session", "lst"], 'did you mean "list"?', "baaaht help --help"],
  [
    ["version", "-o", "xml"],
    '--output can\'t be "xml"; did you mean yaml? It is one of table, json, jsonl, yaml',
    "baaaht version --help",
  ],
  [["completion", "tcsh"], "It is one of bash, zsh, fish", "baaaht completion --help"],
  [["container", "rm", "x"], 'did you mean "remove"?', "baaaht container --help"],
  [["container", "ls"], 'did you mean "list"?', "baaaht container --help"],
  [["container", "ps"], 'did you mean "list"?', "baaaht container --help"],
  [["session", "show"], 'did you mean "get"?', "baaaht session --help"],
  [["session", "rm"], 'did you mean "close"?', "baaaht session --help"],
  [["ps"], 'did you mean "container list"?', "baaaht --help"],
  [["events"], 'did you mean "event watch"?', "baaaht --help"],
  [["help", "container", "rm"], 'did you mean "remove"?', "baaaht help --help"],
  [["version", "--timeout", "soon"], "--timeout has to be a duration", "baaaht version --help"],
  [["session", "list", "--owner", ""], "--owner is empty", "baaaht session list --help"],
  [["session", "list", "--label", ""], "--label has to be KEY=VALUE", "baaaht session list --help"],
  [["container", "list", "-s", ""], "--session is empty", "baaaht container list --help"],
  [["event", "watch", "--session="], "--session is empty", "baaaht event watch --help"],
  [["event", "watch", "--after", ""], "--after is empty", "baaaht event watch --help"],
  [["event", "watch", "--type", ""], '--type can\'t be ""', "baaaht event watch --help"],
  [["container", "create", "-s", "", "image"], "--session is empty", "baaaht container create --help"],
  [["session", "create", "--idempotency-key", ""], "--idempotency-key is empty", "session create --help"],
  [["session", "create", "--tag", ""], "--tag is empty", "baaaht session create --help"],
  [["session", "close", ""], "SESSION is empty", "baaaht session close --help"],
  [["container", "stop", "a", ""], "CONTAINERS is empty", "baaaht container stop --help"],
  [["session", "list", "--grpc-socket-path", ""], "--grpc-socket-path is empty", "session list --help"],
  [
    ["session", "create", "--config", '{"maxContainers": 1,}'],
    '--config has to be JSON, but is wrong at character 21, near "}"',
    "baaaht session create --help",
  ],
  [
    ["session", "create", "--config", '{"resourceLimits":{"pidsLimit":"x"}}'],
    "--config has to be the JSON of SessionConfig: ResourceLimits.pids_limit: ",
    "baaaht session create --help",
  ],
])("runCli() tells what is wrong with %j, and ends with 2", async (args, message, hint) => {
  const { exitCode, stdout, stderr } = await typed(args);
  expect(stderr).toContain(message);
  expect(stderr).toContain(hint);
  expect(stdout).toBe("");
  expect(exitCode).toBe(2);
});

test("runCli() lists the commands when there are no words", async () => {
  const { exitCode, stdout, stderr } = await typed([]);
  expect(stdout).toContain("Usage:\n  baaaht COMMAND");
  for (const name of ["serve", "run", "session", "completion"]) expect(stdout).toContain(`\n  ${name} `);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect((await typed(["--help"])).stdout).toBe(stdout);
});

test("runCli() lists a noun's commands", async () => {
  const { exitCode, stdout } = await typed(["session", "--help"]);
  expect(stdout).toContain("Usage:\n  baaaht session COMMAND");
  expect(stdout).toMatch(/\n {2}create +open a session\n/);
  expect(exitCode).toBe(0);
});

test.each([[["-o", "json", "version"]], [["version", "-o", "json"]], [["--output=json", "version"]]])(
  "runCli() takes common flags anywhere: %j",
  async (args) => {
    const { exitCode, stdout } = await typed(args);
    expect(JSON.parse(stdout)).toMatchObject({ version: "0.0.0-dev", commit: "unknown" });
    expect(exitCode).toBe(0);
  },
);

test("runCli() takes common flags between noun and verb", async () => {
  const { exitCode, stderr } = await typed(["session", "--grpc-socket-path", "/nonexistent/b.sock", "list"]);
  expect(stderr).toContain("Cannot reach baaaht at unix:///nonexistent/b.sock: no such file");
  expect(exitCode).toBe(24);
});

test("runCli() takes common flags also where they change nothing", async () => {
  for (const line of ["version", "completion bash", "config show", "help session"]) {
    const args = ["--grpc-socket-path", "/nonexistent/b.sock", ...line.split(" "), "--timeout", "1s"];
    const { exitCode, stderr } = await typed(args);
    expect({ line, exitCode, stderr }).toEqual({ line, exitCode: 0, stderr: "" });
  }
});

test("runCli() knows --version", async () => {
  expect((await typed(["--version"])).stdout).toBe((await typed(["version"])).stdout);
});

test("runCli() writes errors in the format that was asked for", async () => {
  const json = await typed(["session", "list", "-o", "json"]);
  expect(JSON.parse(json.stderr)).toEqual({
    error: {
      code: "UNAVAILABLE",
      message: expect.stringContaining(
        "Cannot reach baaaht at unix:///nonexistent/baaaht.sock: no such file",
      ),
      reason: "UNREACHABLE",
    },
  });
  const lines = await typed(["session", "lst", "--output", "jsonl"]);
  expect(lines.stderr.trimEnd()).not.toContain("\n");
  expect(JSON.parse(lines.stderr)).toMatchObject({ error: { code: "INVALID_ARGUMENT", reason: "USAGE" } });
  const yaml = await typed(["session", "list", "-oyaml"]);
  expect(yaml.stderr).toStartWith(`error:\n  code: "UNAVAILABLE"\n`);
});

test.each([
  [["run", "--bogus", "image"], 125],
  [["container", "exec", "--bogus"], 125],
  [["container", "exec", "0192f3a4"], 125],
  [["health", "--bogus"], 1],
  [["health"], 2],
])("runCli() ends %j with %d, as its documentation says", async (args, code) => {
  expect((await typed(args)).exitCode).toBe(code);
});

test("runCli() colours errors on a terminal only, and not under NO_COLOR", async () => {
  const red = "\u001b[31merror:\u001b[0m";
  const terminal = { columns: 80 };
  const { coloured, plain, dumb } = {
    coloured: await typed(["sesion"], { env: {} }, terminal),
    plain: await typed(["sesion"], { env: { NO_COLOR: "1" } }, terminal),
    dumb: await typed(["sesion"], { env: { TERM: "dumb" } }, terminal),
  };
  expect(coloured.stderr).toContain(red);
  expect((await typed(["sesion"])).stderr).not.toContain("\u001b");
  expect(plain.stderr).not.toContain("\u001b");
  expect(dumb.stderr).not.toContain("\u001b");
});
