import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dataFolderWarning, makeDataFolder } from "../../src/daemon/data-folder.ts";
import { Failure } from "../../src/failure.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer } from "../server.ts";
import { tempFolder } from "../temp-folder.ts";

test("makeDataFolder() makes what is missing, for its owner alone", async () => {
  await using folder = await tempFolder();
  const path = folder.file("a/b/data");
  makeDataFolder(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test("makeDataFolder() takes a folder that is there as it is, also behind a link", async () => {
  await using folder = await tempFolder();
  const path = folder.file("data");
  mkdirSync(path);
  chmodSync(path, 0o750);
  symlinkSync(path, folder.file("link"));
  makeDataFolder(path);
  makeDataFolder(folder.file("link"));
  expect(statSync(path).mode & 0o777).toBe(0o750);
});

test("makeDataFolder() says what is in the way", async () => {
  await using folder = await tempFolder();
  writeFileSync(folder.file("file"), "");
  expect(failureOf(folder.file("file"))).toMatchObject({
    kind: "failed_precondition",
    message: `Cannot use data folder "${folder.file("file")}": it is not a folder`,
  });
  expect(failureOf(folder.file("file/below"))).toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining(`Cannot make data folder "${folder.file("file/below")}": ENOTDIR`),
  });
  expect(failureOf("/proc/none")).toMatchObject({ kind: "unavailable" });
});

test("dataFolderWarning() tells of a folder that anyone may look into, and of no other", async () => {
  await using folder = await tempFolder();
  for (const mode of [0o755, 0o777, 0o701]) {
    chmodSync(folder.path, mode);
    expect([mode, dataFolderWarning(folder.path)]).toEqual([
      mode,
      `anyone on this host may look into data folder "${folder.path}"; what it holds is for its owner: chmod o-rwx '${folder.path}'`,
    ]);
  }
  for (const mode of [0o700, 0o750]) {
    chmodSync(folder.path, mode);
    expect([mode, dataFolderWarning(folder.path)]).toEqual([mode, undefined]);
  }
});

test("serve keeps what it stores from other users also in a folder that they may look into, and says so", async () => {
  await using folder = await tempFolder();
  const dataDir = folder.file("data");
  for (const path of [folder.path, dataDir]) {
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o755);
  }
  await using server = await startServer({ dataDir });
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({});
  await orchestrator.sendMessage({ sessionId, message: { role: MessageRole.USER, content: "for my eyes" } });
  await server.logged("anyone on this host may look into data folder");
  // The init is part of the executable, and no secret; a server that is run from source has none before a build.
  const files = readdirSync(dataDir)
    .filter((name) => !name.startsWith("init-"))
    .toSorted();
  expect(files).toEqual(["baaaht.db", "baaaht.db-wal", "lock"]);
  for (const file of files) {
    const { exitCode, stderr } = asAnother(["cat", folder.file(`data/${file}`)]);
    expect([file, exitCode, stderr]).toEqual([file, 1, expect.stringContaining("Permission denied")]);
  }
  expect(asAnother(["ls", dataDir]).exitCode).toBe(0); // it was the files that kept it out
}, 60_000);

/** Runs a command as a user who owns nothing here. */
function asAnother(command: readonly string[]): { readonly exitCode: number; readonly stderr: string } {
  if (process.getuid?.() !== 0) throw new Error("Cannot run a command as another user: this test takes root");
  const user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
  const { exitCode, stderr } = Bun.spawnSync([...user, ...command], { stderr: "pipe" });
  return { exitCode, stderr: stderr.toString() };
}

function failureOf(path: string): unknown {
  try {
    makeDataFolder(path);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  return "it was made";
}
