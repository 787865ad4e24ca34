import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

test("bench measures one figure quickly, and writes what it prints", async () => {
  const folder = await mkdtemp(join(tmpdir(), "baaaht-bench-test-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
  const files = ["json", "svg", "markdown"].map((kind) => join(folder, `bench.${kind}`));
  const flags = files.flatMap((file) => [`--${file.split(".").at(-1)}`, file]);
  const { code, stdout, stderr } = await bench(["--quick", "--only", "start-up", ...flags]);
  expect(stderr).toContain("start-up");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^serve to ready, from nothing +ms +\d/m);
  const report = await Bun.file(files[0] ?? "").json();
  expect(report.length).toBe("quick");
  for (const row of report.rows) {
    expect(row.ours.median).toBeGreaterThan(0);
    expect(row.met).toBe(
      row.target.is === "below" ? row.ours.median < row.target.value : row.ours.median <= row.target.value,
    );
  }
  expect(await Bun.file(files[1] ?? "").text()).toStartWith("<svg ");
  expect(await Bun.file(files[2] ?? "").text()).toContain("| serve to ready, from nothing | ms |");
}, 120_000);

test("bench names the figures when it is asked for one that there is not", async () => {
  const { code, stderr } = await bench(["--only", "nonsense"]);
  expect(code).toBe(1);
  expect(stderr).toContain('Cannot measure "nonsense"');
  expect(stderr).toContain("get-session, send-message, events, restart, start-up, first-output, exec");
});

async function bench(words: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(root, "bench/main.ts"), ...words], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, stdout, stderr };
}
