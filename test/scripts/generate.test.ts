import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const repository = join(import.meta.dir, "../..");
/** A copy of all that generation reads and writes, so that a test may spoil it. */
let copy: string;

/** One run of buf takes about 3 s on an idle machine; this is for one that is not. */
const RUN_TIMEOUT_MS = 180_000;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "baaaht-generate-test-"));
  for (const path of [
    "proto",
    "third_party",
    "src/gen",
    "scripts",
    "buf.yaml",
    "buf.gen.yaml",
    "package.json",
  ]) {
    cpSync(join(repository, path), join(copy, path), { recursive: true });
  }
  symlinkSync(join(repository, "node_modules"), join(copy, "node_modules"));
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

function generate(...args: string[]) {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "scripts/generate.ts", ...args], {
    cwd: copy,
  });
  return { exitCode, stderr: stderr.toString() };
}

function edit(path: string, from: string, to: string): void {
  const text = readFileSync(join(copy, path), "utf8");
  expect(text).toContain(from);
  writeFileSync(join(copy, path), text.replace(from, to));
}

test(
  "generate --check fails with a diff on an edit, and passes after generating",
  () => {
    appendFileSync(join(copy, "src/gen/proto/common/v1/common_pb.ts"), "// edited by hand\n");
    const drifted = generate("--check");
    expect(drifted.exitCode).toBe(1);
    expect(drifted.stderr).toContain("-// edited by hand");

    expect(generate().exitCode).toBe(0);
    expect(generate("--check")).toEqual({ exitCode: 0, stderr: "" });
  },
  RUN_TIMEOUT_MS,
);

test(
  "generate --baseline takes a new field, and refuses to forget one",
  () => {
    const file = "proto/common/v1/common.proto";
    const field = "  // For the test.\n  int64 for_the_test = 100;\n";
    edit(file, "message ResourceUsage {\n", `message ResourceUsage {\n${field}`);
    expect(generate("--baseline")).toEqual({ exitCode: 0, stderr: "" });

    edit(file, field, "");
    const refused = generate("--baseline");
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('"for_the_test"');
  },
  RUN_TIMEOUT_MS,
);

test("generate refuses an option that it does not know", () => {
  expect(generate("--chekc").exitCode).toBe(2);
});
