import { describe, expect, test } from "bun:test";
import type { ContainerConfig } from "../../src/containers/container.ts";
import { hardenedSpec, imageAllowed } from "../../src/containers/policy.ts";
import { Failure } from "../../src/failure.ts";
import { containerConfig, sessionConfig } from "./container-config.ts";

const defaults = { nanoCpu: 1_000_000_000n, memoryBytes: 512n << 20n, pids: 256n, logBytes: 65_536 };

describe("hardenedSpec()", () => {
  test("closes a container that asks for nothing", () => {
    expect(hardenedSpec(containerConfig(), { session: sessionConfig(), defaults })).toEqual({
      image: "demo:1",
      command: [],
      args: [],
      env: {},
      workingDir: "",
      mounts: [],
      ports: [],
      networkMode: "none",
      limits: { nanoCpu: 1_000_000_000n, memoryBytes: 512n << 20n, memorySwapBytes: 512n << 20n, pids: 256n },
      restart: { name: "no", maximumRetryCount: 0 },
      readOnlyRootfs: false,
      dropCapabilities: ["ALL"],
      noNewPrivileges: true,
      init: false,
      logBytes: 65_536n,
    });
  });

  test("hands on what was asked for exactly", () => {
    const config = containerConfig({
      image: "python:3.11-slim",
      command: ["python", "-c"],
      args: ["print('ü')", ""],
      env: { A: "b=c", EMPTY: "" },
      workingDir: "/work dir",
      limits: { nanoCpu: 500_000_000n, memoryBytes: 1024n ** 3n * 102n, memorySwap: -1n, pidsLimit: 7n },
      restart: { name: "on-failure", maximumRetryCount: 3, timeoutNs: 0n },
      readOnlyRootfs: true,
      networkMode: "none",
      mounts: [{ type: "tmpfs", source: "", target: "/scratch", readOnly: false }],
    });
    const session = sessionConfig({ policy: { allowVolumeMount: true } });
    expect(hardenedSpec(config, { session, defaults })).toMatchObject({
      image: "python:3.11-slim",
      command: ["python", "-c"],
      args: ["print('ü')", ""],
      env: { A: "b=c", EMPTY: "" },
      workingDir: "/work dir",
      limits: {
        nanoCpu: 500_000_000n,
        memoryBytes: 1024n ** 3n * 102n,
        memorySwapBytes: -1n,
        pids: 7n,
      },
      restart: { name: "on-failure", maximumRetryCount: 3 },
      readOnlyRootfs: true,
      mounts: [{ kind: "tmpfs", target: "/scratch", readOnly: false }],
      dropCapabilities: ["ALL"],
      noNewPrivileges: true,
    });
  });

  test("gives a container that names no limits its session's", () => {
    const session = sessionConfig({
      limits: { nanoCpu: 2_000_000_000n, memoryBytes: 64n << 20n, pidsLimit: 10n },
    });
    expect(hardenedSpec(containerConfig(), { session, defaults }).limits).toEqual({
      nanoCpu: 2_000_000_000n,
      memoryBytes: 64n << 20n,
      memorySwapBytes: 64n << 20n,
      pids: 10n,
    });
  });

  const overLimits: readonly [string, Partial<ContainerConfig["limits"]>][] = [
    ["config.resource_limits.nano_cpu", { nanoCpu: 1_000_001n }],
    ["config.resource_limits.memory_bytes", { memoryBytes: 1_001n, memorySwap: 1_000n }],
    ["config.resource_limits.pids_limit", { pidsLimit: 11n }],
    ["config.resource_limits.memory_swap", { memorySwap: 1_001n }],
    ["config.resource_limits.memory_swap", { memorySwap: -1n }],
  ];
  test.each(overLimits)("refuses more than the session has: %s", (field, limits) => {
    const session = sessionConfig({ limits: { nanoCpu: 1_000_000n, memoryBytes: 1_000n, pidsLimit: 10n } });
    const config = containerConfig({ limits: { ...containerConfig().limits, ...limits } });
    const failure = refusal(() => hardenedSpec(config, { session, defaults }));
    expect(failure.kind).toBe("permission_denied");
    expect(failure.details.violations?.map((violation) => violation.field)).toEqual([field]);
  });

  test("takes limits that are the session's own, and swap where the session has it", () => {
    const session = sessionConfig({ limits: { memoryBytes: 1_000n, memorySwap: 2_000n, pidsLimit: 10n } });
    const limits = { nanoCpu: 0n, memoryBytes: 1_000n, memorySwap: 2_000n, pidsLimit: 10n };
    expect(hardenedSpec(containerConfig({ limits }), { session, defaults }).limits.memorySwapBytes).toBe(
      2_000n,
    );
    const endless = sessionConfig({ limits: { memoryBytes: 1_000n, memorySwap: -1n } });
    const asked = { ...limits, memorySwap: -1n };
    expect(
      hardenedSpec(containerConfig({ limits: asked }), { session: endless, defaults }).limits.memorySwapBytes,
    ).toBe(-1n);
  });

  test("names all that it refuses at once", () => {
    const config = containerConfig({
      image: "evil:1",
      limits: { nanoCpu: 2n, memoryBytes: 2n, memorySwap: 0n, pidsLimit: 2n },
      mounts: [{ type: "bind", source: "/etc", target: "/host", readOnly: true }],
    });
    const session = sessionConfig({
      allowedImages: ["python:*"],
      limits: { nanoCpu: 1n, memoryBytes: 1n, pidsLimit: 1n },
    });
    const failure = refusal(() => hardenedSpec(config, { session, defaults }));
    expect(failure.kind).toBe("permission_denied");
    expect(failure.details.violations?.map(({ field }) => field)).toEqual([
      "config.image",
      "config.resource_limits.nano_cpu",
      "config.resource_limits.memory_bytes",
      "config.resource_limits.pids_limit",
      "config.mounts",
    ]);
    for (const { field } of failure.details.violations ?? []) expect(failure.message).toContain(field);
  });

  const unserved: readonly [string, Partial<ContainerConfig>][] = [
    ["config.ports", { ports: [{ containerPort: 80, hostPort: 0, protocol: "tcp", hostIp: "" }] }],
    ["config.networks", { networks: ["other"] }],
    ['config.network_mode "host"', { networkMode: "host" }],
    ['config.network_mode "bridge"', { networkMode: "bridge" }],
    ["config.mounts of another type", { mounts: [mount("bind")] }],
    ["config.mounts of another type", { mounts: [mount("volume")] }],
    ["config.mounts of another type", { mounts: [mount("unspecified")] }],
  ];
  test.each(unserved)("says that it does not serve %s", (named, more) => {
    const session = sessionConfig({ policy: { allowVolumeMount: true } });
    const failure = refusal(() => hardenedSpec(containerConfig(more), { session, defaults }));
    expect(failure.kind).toBe("unimplemented");
    expect(failure.message).toContain(named);
  });

  test("says that it does not serve a network or an approval that the session asks for", () => {
    for (const [field, policy] of [
      ["policy.require_approval", { requireApproval: true }],
      ["policy.allow_network", { allowNetwork: true }],
    ] as const) {
      const session = sessionConfig({ policy });
      const failure = refusal(() => hardenedSpec(containerConfig(), { session, defaults }));
      expect(failure.kind).toBe("unimplemented");
      expect(failure.message).toContain(field);
    }
  });
});

describe("imageAllowed()", () => {
  const table: readonly [string, readonly string[], boolean][] = [
    ["python:3.11", [], true],
    ["python:3.11", ["python:3.11"], true],
    ["python:3.11", ["python:3.12"], false],
    ["python", ["python"], true],
    ["python", ["python:latest"], true],
    ["python:latest", ["python"], true],
    ["python:3.11", ["python"], false],
    ["python:3.11", ["python:*"], true],
    ["python", ["python:*"], true],
    ["python2:3", ["python:*"], false],
    ["python:3.11-slim", ["python:3.*-slim"], true],
    ["python:3.11", ["python:3.*-slim"], false],
    ["evil/python:3.11", ["python:*"], false],
    ["python:3.11", ["*"], true],
    ["reg.io:5000/team/app:1", ["*"], true],
    ["reg.io:5000/team/app", ["reg.io:5000/team/app"], true],
    ["reg.io:5000/team/app:latest", ["reg.io:5000/team/app"], true],
    ["reg.io:5000/team/app:2", ["reg.io:5000/team/app"], false],
    ["reg.io:5000/team/app:2", ["reg.io:5000/*"], true],
    ["reg.io:5001/team/app:2", ["reg.io:5000/*"], false],
    ["reg-io:5000/app:1", ["reg.io:5000/app:1"], false],
    [`app@sha256:${"a".repeat(64)}`, [`app@sha256:${"a".repeat(64)}`], true],
    [`app@sha256:${"b".repeat(64)}`, [`app@sha256:${"a".repeat(64)}`], false],
    [`app@sha256:${"a".repeat(64)}`, ["app"], false],
    [`app@sha256:${"a".repeat(64)}`, ["app@*"], true],
    [`app:1@sha256:${"a".repeat(64)}`, ["app:1"], false],
    ["python:3.11", ["node:*", "python:3.11"], true],
    ["ab:1", ["ab*b:1"], false],
    ["a:1", ["a*a:1"], false],
    ["aXa:1", ["a*a:1"], true],
    ["a+b:1", ["a.b:1"], false],
    ["PYTHON:3", ["python:*"], false],
    ["python:3", ["**:*3"], true],
  ];
  test.each(table)("%s against %p is %p", (image, allowed, expected) => {
    expect(imageAllowed(image, allowed)).toBe(expected);
  });

  test("comes to an end with a pattern of many stars", () => {
    const pattern = `${"a*".repeat(120)}b`;
    // A matcher that backtracks would not end at all.
    expect(imageAllowed("a".repeat(500), [pattern])).toBe(false);
  });
});

function mount(type: ContainerConfig["mounts"][number]["type"]) {
  return { type, source: "/data", target: "/data", readOnly: false };
}

function refusal(act: () => unknown): Failure {
  try {
    act();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}
