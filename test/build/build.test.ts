import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable, readStamp } from "../../build.ts";
import { version } from "../../package.json";
import { openManager } from "../daemon/service-manager.ts";

const entrypoint = join(import.meta.dir, "probe.ts");
/** Compiling takes 2 s on an idle machine; this is for one that is not. */
const BUILD_TIMEOUT_MS = 120_000;

const stamp = {
  version: "1.2.3",
  commit: "0123456789abcdef0123456789abcdef01234567",
  date: "2026-01-02T03:04:05Z",
};

let folder: string;
let executable: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "baaaht-build-"));
  executable = join(folder, "bin", "probe");
  await buildExecutable({ entrypoint, outfile: executable, stamp });
}, BUILD_TIMEOUT_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the executable with an empty environment but for `env`, so that nothing of this machine helps it. */
function run(options: { cwd: string; args?: string[]; env?: Record<string, string> }) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([executable, ...(options.args ?? [])], {
    cwd: options.cwd,
    env: options.env ?? {},
    stdin: "ignore",
  });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

function emptyFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

test("buildExecutable() makes a file that needs no other file", () => {
  const { exitCode, stdout, stderr } = run({ cwd: emptyFolder("empty") });
  expect(stderr).toBe("");
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ grpc: "function", docker: "function" });
});

test("buildExecutable() leaves nothing of the build beside the executable", () => {
  expect(readdirSync(join(folder, "bin"))).toEqual(["probe"]);
});

test("buildExecutable() makes a file that ignores .env, bunfig.toml, tsconfig.json and package.json where it runs", () => {
  const cwd = emptyFolder("hostile");
  const proof = join(cwd, "preload-ran");
  writeFileSync(join(cwd, ".env"), "PLANTED=yes\n");
  writeFileSync(join(cwd, ".env.production"), "PLANTED=yes\n");
  writeFileSync(join(cwd, "bunfig.toml"), 'preload = ["./preload.ts"]\n');
  writeFileSync(
    join(cwd, "preload.ts"),
    `globalThis.preloaded = true; await Bun.write(${JSON.stringify(proof)}, "yes");`,
  );
  writeFileSync(join(cwd, "tsconfig.json"), "not json");
  writeFileSync(join(cwd, "package.json"), "not json");
  const before = readdirSync(cwd);

  const { exitCode, stdout } = run({ cwd });

  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ planted: "", preloaded: false });
  expect(readdirSync(cwd)).toEqual(before);
});

test("buildExecutable() makes a file that reaches systemd, and takes no library from the folder that it runs in", async () => {
  const cwd = emptyFolder("systemd");
  for (const name of ["libc.so.6", "libc.musl-x86_64.so.1"]) writeFileSync(join(cwd, name), "not a library");
  const address = join(cwd, "notify");
  await using manager = await openManager(address);
  expect(run({ cwd, env: { NOTIFY_SOCKET: address } })).toMatchObject({ exitCode: 0, stderr: "" });
  expect((await manager.heard()).message).toBe("READY=1|STATUS=compiled");
});

test("buildExecutable() puts version, commit and date inside", () => {
  expect(JSON.parse(run({ cwd: emptyFolder("facts") }).stdout)).toMatchObject(stamp);
});

test("buildExecutable() leaves ssh2 out, whose native parts would be unpacked at every start", async () => {
  const temporary = emptyFolder("tmp");
  expect(run({ cwd: temporary, env: { TMPDIR: temporary, HOME: temporary } }).exitCode).toBe(0);
  expect(readdirSync(temporary)).toEqual([]);
  expect(Buffer.from(await Bun.file(executable).arrayBuffer()).includes("curve25519-sha256@libssh.org")).toBe(
    false,
  );
});

test("buildExecutable() keeps stack traces that name the source's function, file and line", () => {
  const { exitCode, stderr } = run({ cwd: emptyFolder("stack"), args: ["fail"] });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/at failDeepInside \(test\/build\/probe\.ts:9:\d+\)/);
});

test(
  "buildExecutable() makes the same bytes again, with nothing of the build's folder in them",
  async () => {
    const second = join(folder, "again", "probe");
    await buildExecutable({ entrypoint, outfile: second, stamp });
    const [first, again] = await Promise.all([Bun.file(executable).bytes(), Bun.file(second).bytes()]);
    expect(Buffer.compare(first, again)).toBe(0);
    expect(Buffer.from(first.buffer).includes(join(import.meta.dir, "../.."))).toBe(false);
  },
  BUILD_TIMEOUT_MS,
);

test("buildExecutable() leaves what was there when it fails", async () => {
  const outfile = join(emptyFolder("kept"), "probe");
  writeFileSync(outfile, "the old one");
  const missing = join(folder, "missing.ts");
  await expect(buildExecutable({ entrypoint: missing, outfile })).rejects.toThrow(
    `Cannot build "${outfile}" for this machine`,
  );
  expect(await Bun.file(outfile).text()).toBe("the old one");
  expect(readdirSync(join(folder, "kept"))).toEqual(["probe"]);
});

test("readStamp() names the commit and its date, and says when files have changed since", () => {
  const repository = emptyFolder("repository");
  const git = (...args: string[]): string => {
    const identity = [
      "-c",
      "user.name=test",
      "-c",
      "user.email=test@example.org",
      "-c",
      "commit.gpgsign=false",
    ];
    const { exitCode, stdout, stderr } = Bun.spawnSync(["git", ...identity, ...args], {
      cwd: repository,
      env: { ...process.env, GIT_COMMITTER_DATE: "2026-02-03T04:05:06Z" },
    });
    if (exitCode !== 0) throw new Error(stderr.toString());
    return stdout.toString().trim();
  };
  git("init", "-q");
  writeFileSync(join(repository, "file"), "one");
  git("add", "file");
  git("commit", "-q", "-m", "one");
  const commit = git("rev-parse", "HEAD");
  expect(readStamp(repository)).toEqual({ version, commit, date: "2026-02-03T04:05:06Z" });

  writeFileSync(join(repository, "file"), "two");
  expect(readStamp(repository).commit).toBe(`${commit}-dirty`);

  mkdirSync(join(repository, "archive"));
  expect(readStamp(join(repository, "archive")).commit).toBe("unknown");
});

test("build.ts names what it can build when it is asked for something else", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "build.ts", "--target", "plan9-x64"], {
    cwd: join(import.meta.dir, "../.."),
  });
  expect(exitCode).toBe(2);
  expect(stderr.toString()).toContain('Unknown target "plan9-x64"');
  expect(stderr.toString()).toContain("linux-arm64-musl");
});
