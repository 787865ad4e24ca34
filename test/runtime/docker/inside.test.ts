import { expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { ContainerSpec } from "../../../src/runtime/runtime.ts";
import { Subject } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";

/** What a spec asks for, as the container itself sees it. */
const subject = new Subject(async () => {
  const { dockerHost, image } = await engine();
  return { runtime: connectDocker({ dockerHost }), image };
});

const NO_LIMITS: ContainerSpec["limits"] = { nanoCpu: 0n, memoryBytes: 0n, memorySwapBytes: 0n, pids: 0n };

async function seen(script: string, over: Partial<ContainerSpec> = {}): Promise<string> {
  return await subject.text(await subject.ran(subject.script(script, over)));
}

test("create() passes the limits exactly, on either version of cgroups", async () => {
  const limits = {
    nanoCpu: 250_000_000n,
    memoryBytes: 67_108_864n,
    memorySwapBytes: 134_217_728n,
    pids: 37n,
  };
  const script = `
    cd /sys/fs/cgroup
    cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null
    cat memory/memory.limit_in_bytes memory.max 2>/dev/null
    cat memory/memory.memsw.limit_in_bytes memory.swap.max 2>/dev/null
    cat pids/pids.max pids.max 2>/dev/null`;
  const lines = (await seen(script, { limits })).trim().split("\n");
  expect(lines[0]).toMatch(/^25000( 100000)?$/);
  expect(lines[1]).toBe("67108864");
  // Kernels may count no swap at all; version 2 counts it apart from memory.
  if (lines.length === 4) expect(lines[2]).toMatch(/^(134217728|67108864)$/);
  expect(lines.at(-1)).toBe("37");
});

test("create() drops capabilities and forbids new privileges when it is told, and else leaves them", async () => {
  const script = "grep -E '^(CapPrm|CapBnd|NoNewPrivs)' /proc/self/status";
  const none = "0000000000000000";
  expect(await seen(script, { dropCapabilities: ["ALL"], noNewPrivileges: true })).toBe(
    `CapPrm:\t${none}\nCapBnd:\t${none}\nNoNewPrivs:\t1\n`,
  );
  const left = await seen(script);
  expect(left).toEndWith("NoNewPrivs:\t0\n");
  expect(left).not.toContain(none);
});

test("create() makes the root read-only when it is told, with tmpfs where it is asked for", async () => {
  const script = "touch /x 2>/dev/null || echo refused; touch /scratch/x && echo written";
  const mounts = [{ kind: "tmpfs", target: "/scratch", readOnly: false }] as const;
  expect(await seen(script, { readOnlyRootfs: true, mounts })).toBe("refused\nwritten\n");
  expect(await seen("touch /x && echo written")).toBe("written\n");
});

test("create() without a network leaves the loopback alone", async () => {
  expect(
    await seen(
      "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -vE '^(tunl|sit|ip6|gre|erspan|ip_)'",
    ),
  ).toBe("lo\n");
});

test("create() mounts a folder of the host, read-only when it is told", async () => {
  const source = "/etc";
  const mounts = [{ kind: "bind", source, target: "/host", readOnly: true }] as const;
  expect(
    await seen("test -e /host/passwd && echo there; touch /host/x 2>/dev/null || echo refused", { mounts }),
  ).toBe("there\nrefused\n");
});

test("create() with init runs one before the command", async () => {
  expect(await seen("echo $$", { init: false })).toBe("1\n");
  expect(await seen("echo $$", { init: true })).not.toBe("1\n");
});

test("create() keeps numbers exactly that no floating point number holds", async () => {
  const id = await subject.created(
    subject.script("true", { limits: { ...NO_LIMITS, memoryBytes: 2n ** 53n + 1n } }),
  );
  const { dockerHost } = await engine();
  if (!dockerHost.startsWith("unix://")) return;
  const unix = dockerHost.slice("unix://".length);
  const inspected = await (await fetch(`http://engine/containers/${id}/json`, { unix })).text();
  expect(inspected).toContain(`"Memory":${2n ** 53n + 1n}`);
});

test("inspect() says that a container ran out of memory", async () => {
  const limits = { ...NO_LIMITS, memoryBytes: 16_777_216n, memorySwapBytes: 16_777_216n };
  const id = await subject.ran(subject.script("exec tail /dev/zero", { limits }));
  expect(await subject.facts(id)).toMatchObject({ state: "exited", exitCode: 137, oomKilled: true });
});

test("logs() of a container with bounded output keep the newest", async () => {
  const id = await subject.started(subject.script("seq 1 200000; echo last", { logBytes: 200_000n }));
  let kept = "";
  // An engine that begins a new file of a log may lose those who read it just then.
  while (!kept.endsWith("last\n")) kept = await subject.text(id, { follow: true }).catch(() => "");
  kept = await subject.text(id);
  expect(kept).toEndWith("last\n");
  expect(kept.length).toBeLessThan(600_000);
});
