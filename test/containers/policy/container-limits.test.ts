import { describe, expect, test } from "bun:test";
import type { ContainerConfig } from "../../../src/containers/container.ts";
import { configViolations } from "../../../src/containers/policy/container-limits.ts";
import { containerConfig } from "../container-config.ts";

const limits = {
  maxContainers: 10,
  maxVolumes: 4,
  maxLabels: 2,
  maxLabelKeyLength: 8,
  maxLabelValueLength: 8,
};

describe("configViolations()", () => {
  test("finds nothing wrong with a config at its bounds", () => {
    const config = containerConfig({
      image: `reg.io:5000/${"a".repeat(500)}`,
      command: ["sh", ...Array.from({ length: 4_095 }, () => "")],
      args: Array.from({ length: 4_096 }, () => "x"),
      env: Object.fromEntries(Array.from({ length: 4_096 }, (_, n) => [`K${n}`, ""])),
      workingDir: `/${"w".repeat(4_095)}`,
      labels: { a: "12345678", b: "" },
      mounts: Array.from({ length: 64 }, (_, n) => mount(`/m${n}`)),
      restart: { name: "unless-stopped", maximumRetryCount: 0, timeoutNs: 0n },
    });
    expect(configViolations(config, limits)).toEqual([]);
    const long = (size: number) => "x".repeat(size);
    const full = containerConfig({
      command: [long(131_071)],
      args: Array.from({ length: 15 }, () => long(131_071)),
    });
    expect(configViolations(full, limits)).toEqual([]);
  });

  const wrong: readonly [string, string, Partial<ContainerConfig>][] = [
    ["an image that is empty", "config.image", { image: "" }],
    ["an image that is too long", "config.image", { image: "a".repeat(513) }],
    ["an image with a blank", "config.image", { image: "a b" }],
    ["an image that begins like an option", "config.image", { image: "-v" }],
    ["an image with a query", "config.image", { image: "a?b=c" }],
    ["an image with a NUL", "config.image", { image: "a\0b" }],
    ["too many words", "config.command", { command: Array.from({ length: 4_097 }, () => "x") }],
    ["too many arguments", "config.args", { args: Array.from({ length: 4_097 }, () => "x") }],
    ["a NUL in a word", "config.command", { command: ["a\0b"] }],
    ["a NUL in an argument", "config.args", { args: ["\0"] }],
    ["no program", "config.command", { command: ["", "x"] }],
    [
      "too many variables",
      "config.env",
      { env: Object.fromEntries(Array.from({ length: 4_097 }, (_, n) => [`K${n}`, ""])) },
    ],
    ["a variable without a name", "config.env", { env: { "": "x" } }],
    ["a variable with = in its name", "config.env", { env: { "A=B": "x" } }],
    ["a NUL in a value", "config.env", { env: { A: "\0" } }],
    ["too many bytes", "config", { args: [...Array.from({ length: 32 }, () => "ü".repeat(32 * 1024)), "x"] }],
    ["a word that is too long", "config.command", { command: ["sh", "x".repeat(131_072)] }],
    ["an argument that is too long", "config.args", { args: ["ü".repeat(65_536)] }],
    ["a variable that is too long", "config.env", { env: { A: "x".repeat(131_070) } }],
    [
      "less memory than there can be",
      "config.resource_limits.memory_bytes",
      withLimits({ memoryBytes: 6_291_455n }),
    ],
    ["less swap than there can be", "config.resource_limits.memory_swap", withLimits({ memorySwap: 1n })],
    ["a name with a slash", "config.name", { name: "a/b" }],
    ["a name in capitals", "config.name", { name: "Web" }],
    ["a name that is too long", "config.name", { name: "a".repeat(64) }],
    ["a name with - at its end", "config.name", { name: "a-" }],
    ["another mode", "config.network_mode", { networkMode: "my-net" }],
    ["a network's name with a slash", "config.networks[0]", { networks: ["a/b"] }],
    ["a network twice", "config.networks[1]", { networks: ["a", "a"] }],
    ["networks without a network", "config.networks", { networkMode: "none", networks: ["a"] }],
    ["ports without a network", "config.ports", { networkMode: "none", ports: [port()] }],
    ["a port of 0", "config.ports[0].container_port", { ports: [port({ containerPort: 0 })] }],
    ["a port of 65536", "config.ports[0].container_port", { ports: [port({ containerPort: 65_536 })] }],
    ["a negative host port", "config.ports[0].host_port", { ports: [port({ hostPort: -1 })] }],
    ["a host port of 65536", "config.ports[0].host_port", { ports: [port({ hostPort: 65_536 })] }],
    ["another protocol", "config.ports[0].protocol", { ports: [port({ protocol: "icmp" })] }],
    ["an address that is a name", "config.ports[0].host_ip", { ports: [port({ hostIp: "localhost" })] }],
    ["an address with a zone", "config.ports[0].host_ip", { ports: [port({ hostIp: "fe80::1%eth0" })] }],
    ["too many ports", "config.ports", { ports: Array.from({ length: 257 }, () => port()) }],
    ["a mount of no type", "config.mounts[0].type", { mounts: [{ ...mount("/a"), type: "unspecified" }] }],
    ["a mount over the root", "config.mounts[0].target", { mounts: [mount("/a/..//.")] }],
    ["a mount in /proc", "config.mounts[0].target", { mounts: [mount("/x/../proc/1")] }],
    ["memory with a source", "config.mounts[0].source", { mounts: [{ ...mount("/a"), source: "/b" }] }],
    [
      "a path that is relative",
      "config.mounts[0].source",
      { mounts: [{ ...mount("/a"), type: "bind", source: "b" }] },
    ],
    [
      "a path with a NUL",
      "config.mounts[0].source",
      { mounts: [{ ...mount("/a"), type: "bind", source: "/b\0" }] },
    ],
    ["no path", "config.mounts[0].source", { mounts: [{ ...mount("/a"), type: "bind", source: "" }] }],
    [
      "a volume with a slash",
      "config.mounts[0].source",
      { mounts: [{ ...mount("/a"), type: "volume", source: "a/b" }] },
    ],
    ["a relative folder", "config.working_dir", { workingDir: "work" }],
    ["a folder that is too long", "config.working_dir", { workingDir: `/${"w".repeat(4_096)}` }],
    ["a NUL in the folder", "config.working_dir", { workingDir: "/a\0" }],
    ["too many labels", "config.labels", { labels: { a: "", b: "", c: "" } }],
    ["a label of the server's", 'config.labels["baaaht.install"]', { labels: { "baaaht.install": "x" } }],
    ["negative cpu", "config.resource_limits.nano_cpu", withLimits({ nanoCpu: -1n })],
    ["negative memory", "config.resource_limits.memory_bytes", withLimits({ memoryBytes: -1n })],
    ["negative pids", "config.resource_limits.pids_limit", withLimits({ pidsLimit: -1n })],
    ["negative swap", "config.resource_limits.memory_swap", withLimits({ memorySwap: -2n })],
    ["an unknown restart policy", "config.restart_policy.name", withRestart({ name: "sometimes" })],
    ["negative retries", "config.restart_policy.maximum_retry_count", withRestart({ maximumRetryCount: -1 })],
    ["too many mounts", "config.mounts", { mounts: Array.from({ length: 65 }, (_, n) => mount(`/m${n}`)) }],
    ["a mount without a target", "config.mounts[0].target", { mounts: [mount("")] }],
    ["a mount on a relative target", "config.mounts[1].target", { mounts: [mount("/a"), mount("b")] }],
    [
      "a mount from far too long a source",
      "config.mounts[0].source",
      { mounts: [{ ...mount("/a"), type: "bind", source: `/${"s".repeat(4_096)}` }] },
    ],
  ];
  test.each(wrong)("names %s", (_, field, more) => {
    const own = field.startsWith("config.labels[") ? { ...limits, maxLabelKeyLength: 99 } : limits;
    expect(configViolations(containerConfig(more), own).map((violation) => violation.field)).toEqual([field]);
  });

  test("names both mounts of one place, and both ports of one", () => {
    const mounts = [mount("/data"), mount("/other"), mount("/x/..//data/")];
    const ports = [port({ hostPort: 80 }), port({ hostPort: 80, hostIp: "127.0.0.1", protocol: "tcp" })];
    expect(configViolations(containerConfig({ mounts, ports }), limits)).toEqual([
      {
        field: "config.mounts[0].target",
        description: 'is "/data", the same place as config.mounts[2].target',
      },
      {
        field: "config.mounts[2].target",
        description: 'is "/x/..//data/", the same place as config.mounts[0].target',
      },
      { field: "config.ports[0].host_port", description: "is 80, the same as config.ports[1].host_port" },
      { field: "config.ports[1].host_port", description: "is 80, the same as config.ports[0].host_port" },
    ]);
  });

  test("lets one port be bound at several addresses and for several protocols, and any number be chosen", () => {
    const ports = [
      port({ hostPort: 53 }),
      port({ hostPort: 53, protocol: "udp" }),
      port({ hostPort: 53, hostIp: "::1" }),
      port({ hostPort: 0 }),
      port({ hostPort: 0 }),
    ];
    expect(configViolations(containerConfig({ ports }), limits)).toEqual([]);
  });

  test("names all that is wrong at once", () => {
    const config = containerConfig({ image: "", workingDir: "x", restart: { ...restart, name: "?" } });
    expect(configViolations(config, limits).map(({ field }) => field)).toEqual([
      "config.image",
      "config.working_dir",
      "config.restart_policy.name",
    ]);
  });
});

const restart = { name: "", maximumRetryCount: 0, timeoutNs: 0n };

function withLimits(some: Partial<ContainerConfig["limits"]>): Partial<ContainerConfig> {
  return { limits: { ...containerConfig().limits, ...some } };
}

function withRestart(some: Partial<ContainerConfig["restart"]>): Partial<ContainerConfig> {
  return { restart: { ...restart, ...some } };
}

function mount(target: string) {
  return { type: "tmpfs", source: "", target, readOnly: false } as const;
}

function port(more: Partial<ContainerConfig["ports"][number]> = {}) {
  return { containerPort: 80, hostPort: 0, protocol: "", hostIp: "", ...more };
}
