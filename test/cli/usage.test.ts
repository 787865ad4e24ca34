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
    "has to be the JSON of SessionConfig",
    "session create --help",
  ],
  [["container", "create", "image"], "--session is missing", "baaaht container create --help"],
  [["event", "watch", "--since", "1m", "--from-start"], "only one of --since", "baaaht event watch --help"],
  [["help", "session", "lst"], 'did you mean "list"?', "baaaht help --help"],
  [["version", "-o", "xml"], 'can\'t be "xml"', "baaaht version --help"],
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
