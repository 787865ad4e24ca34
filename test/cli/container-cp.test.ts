import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { PROGRAM } from "../program.ts";
import { type ContainerServer, containerServer, exec } from "../rpc/container-client.ts";
import { tempFolder } from "../temp-folder.ts";
import { baaaht, reaching, typed } from "./command-line.ts";

let shared: ContainerServer;
let id: string;

beforeAll(async () => {
  shared = await containerServer();
  id = await shared.create();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;

const cp = (...args: string[]) =>
  baaaht(["container", "cp", ...args], { env: { GRPC_SOCKET_PATH: shared.server.socketPath } });
const DONE = { exitCode: 0, stdout: "", stderr: "" };

async function inside(script: string): Promise<string> {
  return (await exec(shared.client, { containerId: id, command: ["sh", "-c", script] })).stdout.toString();
}

/** A folder with a file, a folder and a link in it. */
async function sample(): Promise<AsyncDisposable & { readonly path: string }> {
  const temp = await tempFolder();
  mkdirSync(join(temp.path, "src/sub"), { recursive: true });
  writeFileSync(join(temp.path, "src/run"), "echo hi\n", { mode: 0o755 });
  writeFileSync(join(temp.path, "src/sub/ß"), "deep");
  symlinkSync("sub/ß", join(temp.path, "src/link"));
  return temp;
}

test(
  "cp of a file goes into a folder, to a name, and over a file; to a folder that is missing it is refused",
  async () => {
    await using at = await sample();
    const file = join(at.path, "src/run");
    await inside("mkdir /tmp/f; echo old > /tmp/f/over; ln -s /tmp/f /tmp/f-link");
    expect(await cp(file, `${id}:/tmp/f`)).toEqual(DONE);
    expect(await cp(file, `${id}:/tmp/f/named`)).toEqual(DONE);
    expect(await cp(file, `${id}:tmp/f/over`)).toEqual(DONE);
    expect(await cp(file, `${id}:/tmp/f-link/through`)).toEqual(DONE);
    expect(
      await inside("cd /tmp/f; for n in run named over through; do sh $n; done; stat -c %u:%a run"),
    ).toBe("hi\nhi\nhi\nhi\n0:755\n");
    expect(await cp(file, `${id}:/tmp/none/`)).toMatchObject({
      exitCode: 15,
      stderr: expect.stringContaining("no such folder"),
    });
    expect(await cp(file, `${id}:/tmp/none/name`)).toMatchObject({ exitCode: 15 });
    expect(await cp(join(at.path, "none"), `${id}:/tmp`)).toMatchObject({ exitCode: 15 });
    expect(await cp(`${file}/`, `${id}:/tmp`)).toMatchObject({ exitCode: 19 });
  },
  TIMEOUT_MS,
);

test(
  "cp of a folder goes into a folder, becomes one that is missing, and with /. is what is in it",
  async () => {
    await using at = await sample();
    const folder = join(at.path, "src");
    const found = (path: string) => inside(`cd ${path} && find . | sort; cat link`);
    const all = ".\n./link\n./run\n./sub\n./sub/ß\ndeep";
    await inside("mkdir /tmp/d /tmp/content; touch /tmp/file");
    expect(await cp(folder, `${id}:/tmp/d`)).toEqual(DONE);
    expect(await found("/tmp/d/src")).toBe(all);
    expect(await cp(folder, `${id}:/tmp/fresh`)).toEqual(DONE);
    expect(await found("/tmp/fresh")).toBe(all);
    expect(await cp(`${folder}/.`, `${id}:/tmp/content`)).toEqual(DONE);
    expect(await found("/tmp/content")).toBe(all);
    expect(await cp(folder, `${id}:/tmp/file`)).toMatchObject({
      exitCode: 19,
      stderr: expect.stringContaining("not a folder"),
    });
  },
  TIMEOUT_MS,
);

test(
  "cp out of a container follows the same rules",
  async () => {
    await using at = await sample();
    await inside(
      "mkdir -p /tmp/out/sub; echo one > /tmp/out/one; ln -s one /tmp/out/link; chmod 4750 /tmp/out/one; ln -s out /tmp/out-link",
    );
    const here = (...names: string[]) => join(at.path, ...names);
    mkdirSync(here("box"));
    expect(await cp(`${id}:/tmp/out`, here("box"))).toEqual(DONE);
    expect(readdirSync(here("box/out")).toSorted()).toEqual(["link", "one", "sub"]);
    expect(readlinkSync(here("box/out/link"))).toBe("one");
    expect(statSync(here("box/out/one")).mode & 0o7777).toBe(0o750);
    expect(await cp(`${id}:/tmp/out`, here("fresh"))).toEqual(DONE);
    expect(readFileSync(here("fresh/one"), "utf8")).toBe("one\n");
    expect(await cp(`${id}:/tmp/out/.`, here("box"))).toEqual(DONE);
    expect(readFileSync(here("box/one"), "utf8")).toBe("one\n");
    expect(await cp(`${id}:/tmp/out/one`, here("named"))).toEqual(DONE);
    expect(await cp(`${id}:/tmp/out/one`, here("named"))).toEqual(DONE);
    expect(readFileSync(here("named"), "utf8")).toBe("one\n");
    expect(await cp(`${id}:/tmp/out-link`, here("as-link"))).toEqual(DONE);
    expect(readlinkSync(here("as-link"))).toBe("out");
    expect(await cp("-L", `${id}:/tmp/out-link`, here("as-folder"))).toEqual(DONE);
    expect(existsSync(here("as-folder/one"))).toBe(true);
    expect(await cp(`${id}:/tmp/none`, here("x"))).toMatchObject({ exitCode: 15 });
    expect(await cp(`${id}:/tmp/out`, here("named"))).toMatchObject({ exitCode: 19 });
    expect(await cp(`${id}:/tmp/out`, here("no/such/folder"))).toMatchObject({ exitCode: 15 });
    expect(await cp(`${id}:/tmp/out/one`, `${here("no")}/`)).toMatchObject({ exitCode: 15 });
  },
  TIMEOUT_MS,
);

test(
  "cp with - carries an archive on stdin and stdout, as tar has it",
  async () => {
    await using at = await sample();
    const env = { PATH: process.env.PATH, GRPC_SOCKET_PATH: shared.server.socketPath };
    const program = `${PROGRAM.join(" ")} container cp`;
    const script = `set -o pipefail; tar -C "$1" -cf - src | ${program} - "$2":/tmp/piped && ${program} "$2":/tmp/piped/src - | tar --quoting-style=literal -tf -`;
    await inside("mkdir /tmp/piped");
    const { stdout, stderr } = Bun.spawnSync(["bash", "-c", script, "sh", at.path, id], { env });
    expect(stderr.toString()).toBe("");
    expect(stdout.toString().trim().split("\n").toSorted()).toEqual([
      "src/",
      "src/link",
      "src/run",
      "src/sub/",
      "src/sub/ß",
    ]);
    const garbage = await baaaht(["container", "cp", "-", `${id}:/tmp`], {
      env: { GRPC_SOCKET_PATH: shared.server.socketPath },
      stdin: "garbage".repeat(500),
    });
    expect(garbage).toMatchObject({
      exitCode: 13,
      stderr: expect.stringContaining("is not an uncompressed tar archive"),
    });
  },
  TIMEOUT_MS,
);

test(
  "cp shows how far it is on a terminal, and nothing with --quiet",
  async () => {
    await using at = await sample();
    const shell = { server: reaching(shared.server.socketPath) };
    const args = ["container", "cp", join(at.path, "src/run"), `${id}:/tmp/shown`];
    expect((await typed(args, shell, { columns: 80 })).stderr).toMatch(
      /copied [\d.]+KiB, [\d.]+[KM]iB a second/,
    );
    expect((await typed([...args, "-q"], shell, { columns: 80 })).stderr).toBe("");
  },
  TIMEOUT_MS,
);

test.each([
  [["a", "b"], "one of SOURCE and TARGET has to be CONTAINER:PATH"],
  [["x:/a", "y:/b"], "one of SOURCE and TARGET has to be CONTAINER:PATH"],
  [[":/a", "b"], "names no container before its colon"],
  [["x:", "b"], "names no path behind its colon"],
])("cp %p is a mistake in the words", async (words, why) => {
  expect(await cp(...words)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(why) });
});
