import { describe, expect, test } from "bun:test";
import type { ContainerConfig } from "../../src/containers/container.ts";
import { configViolations } from "../../src/containers/container-limits.ts";
import { containerConfig } from "./container-config.ts";

const limits = { maxContainers: 10, maxLabels: 2, maxLabelKeyLength: 8, maxLabelValueLength: 8 };

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
    const full = containerConfig({ command: ["x".repeat(2 * 1024 * 1024)] });
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
    ["too many bytes", "config", { args: ["ü".repeat(1024 * 1024), "x"] }],
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
      { mounts: [{ ...mount("/a"), source: "s".repeat(4_097) }] },
    ],
  ];
  test.each(wrong)("names %s", (_, field, more) => {
    const own = field.startsWith("config.labels[") ? { ...limits, maxLabelKeyLength: 99 } : limits;
    expect(configViolations(containerConfig(more), own).map((violation) => violation.field)).toEqual([field]);
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
