import { beforeAll, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { dirname } from "node:path";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import { signalExec } from "../../../src/runtime/docker/exec-signal.ts";
import type { RuntimeId } from "../../../src/runtime/runtime.ts";
import { signalNumber } from "../../../src/runtime/signal-number.ts";
import { failure, SET_UP_MS, Subject, soon } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { EngineProxy } from "./engine-proxy.ts";

const subject = new Subject(async () => {
  const { dockerHost, image } = await engine();
  return { runtime: connectDocker({ dockerHost }), image };
});

beforeAll(() => {}, SET_UP_MS);

test("signalNumber() knows names with and without SIG, and numbers", () => {
  expect([signalNumber("TERM", "x"), signalNumber("sigkill", "x"), signalNumber("64", "x")]).toEqual([
    15, 9, 64,
  ]);
  for (const name of ["", "0", "65", "NOPE", "-9", "1.5"])
    expect(() => signalNumber(name, "send")).toThrow(/no signal/);
});

test("signalExec() never signals a process that is not the container's", async () => {
  const bystander = Bun.spawn(["sleep", "60"]);
  // as: an id of the right form, of no container
  const containerId = "f".repeat(64) as RuntimeId;
  const run = () => Promise.reject(new Error("nothing may run"));
  const target = { doing: "send TERM", number: 15, pid: bystander.pid, containerId, run };
  const refused = await failure(signalExec(target, soon()));
  expect(refused.kind).toBe("failed_precondition");
  expect(refused.message).toContain("can't be seen from here");
  expect(bystander.killed).toBe(false);
  bystander.kill();
  await bystander.exited;
});

test.skipIf(process.getuid?.() !== 0)(
  "signal() of a user who may not signal the process goes through the container",
  async () => {
    const { socketPath } = await engine();
    await using proxy = new EngineProxy(socketPath);
    await proxy.up();
    chmodSync(dirname(proxy.path), 0o755);
    chmodSync(proxy.path, 0o666);
    const id = await subject.started(subject.script("while :; do sleep 1; done"));
    const script = Bun.fileURLToPath(import.meta.resolve("./signal-as-nobody.ts"));
    const child = Bun.spawn([process.execPath, script, proxy.dockerHost, id], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [said, complained] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect(complained).toBe("");
    expect(said).toBe("caught by 65534\n");
  },
  60_000,
);
