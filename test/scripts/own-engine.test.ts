import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "../../scripts/check-step.ts";
import { processes, readProcess } from "../../scripts/dockerd.ts";

const SCRIPT = `
  import { startOwnEngine } from "./scripts/own-engine.ts";
  import { PODMAN } from "./scripts/podman.ts";
  const { dockerHost } = await startOwnEngine(PODMAN, () => {});
  console.log(dockerHost);
  await new Promise(() => {});
`;

test("startOwnEngine() leaves nothing behind when its process is killed", async () => {
  const child = Bun.spawn([process.execPath, "-e", SCRIPT], {
    cwd: ROOT,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const { value } = await child.stdout.getReader().read();
  const run = dirname(
    Buffer.from(value ?? [])
      .toString()
      .trim()
      .replace("unix://", ""),
  );
  const data = readFileSync(join(run, "data-folder"), "utf8");
  const left = () => processes().filter((pid) => readProcess(pid, "cmdline").includes(run));
  expect(left()).not.toEqual([]);
  child.kill("SIGKILL");
  // Its keeper has it too, and is done when it ends.
  expect(await child.stderr.text()).toBe("");
  expect([left(), existsSync(run), existsSync(data)]).toEqual([[], false, false]);
  expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(data);
}, 600_000);
