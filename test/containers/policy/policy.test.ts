import { describe, expect, test } from "bun:test";
import type { ContainerConfig } from "../../../src/containers/container.ts";
import type { FoundPath } from "../../../src/containers/policy/mount-policy.ts";
import type { FoundNetwork } from "../../../src/containers/policy/network-policy.ts";
import { type HardenedSpec, imageAllowed, judgeContainer } from "../../../src/containers/policy/policy.ts";
import type { Refusal } from "../../../src/containers/policy/refusal.ts";
import type { ResourceLimits, SessionId } from "../../../src/sessions/session.ts";
import { containerConfig, sessionConfig } from "../container-config.ts";

const mb = 1n << 20n;
const none: ResourceLimits = { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n };
const specLimits = { nanoCpu: 1_000_000_000n, memoryBytes: 0n, memorySwapBytes: 0n, pids: 256n };
const server = { nanoCpu: 1_000_000_000n, memoryBytes: 512n * mb, pids: 256n, logBytes: 65_536 };

/** What is on the host of these tests, by the sources that mounts name. */
const paths: Readonly<Record<string, FoundPath>> = {
  "/data": there("/data"),
  "/data/in": there("/data/in"),
  "/data/../data/in/": there("/data/in"),
  "/data/link": there("/etc"),
  "/elsewhere/link": there("/data/in"),
  "/database": there("/database"),
  "/etc": there("/etc"),
  "/data/socket": { kind: "there", path: "/data/socket", guarded: "is the container engine's socket" },
  "/data/gone": { kind: "missing" },
  "/gone": { kind: "missing" },
  "/data/hidden": { kind: "hidden", reason: "the server can't look at it (EACCES)" },
  "/": there("/"),
  "/proc/1": there("/proc/1"),
  "/srv": there("/srv"),
  "/srv/own": there("/srv/own"),
  "/srv/own/data": there("/srv/own/data"),
};
const guarded = [
  { path: "/proc", what: "the kernel's /proc" },
  { path: "/srv/own", what: "the server's data folder" },
];
const networks: Readonly<Record<string, FoundNetwork>> = { shared: "free", theirs: "of_a_session" };

interface Given {
  readonly config?: Partial<ContainerConfig>;
  readonly session?: Parameters<typeof sessionConfig>[0];
  readonly used?: Partial<ResourceLimits>;
  readonly allowedPaths?: readonly string[];
}

describe("judgeContainer() allows", () => {
  test("a container that asks for nothing, and closes it", () => {
    expect(allowed({})).toEqual({
      image: "demo:1",
      command: [],
      args: [],
      env: {},
      workingDir: "",
      mounts: [],
      ports: [],
      networkMode: "none",
      networks: [],
      limits: { nanoCpu: 1_000_000_000n, memoryBytes: 512n * mb, memorySwapBytes: 512n * mb, pids: 256n },
      restart: { name: "no", maximumRetryCount: 0 },
      readOnlyRootfs: false,
      dropCapabilities: ["ALL"],
      noNewPrivileges: true,
      init: false,
      logBytes: 65_536n,
    });
  });

  const table: readonly [string, Given, Partial<HardenedSpec>][] = [
    [
      "what was asked for, exactly",
      {
        config: {
          image: "python:3.11-slim",
          command: ["python", "-c"],
          args: ["print('ü')", ""],
          env: { A: "b=c", EMPTY: "" },
          workingDir: "/work dir",
          limits: { nanoCpu: 500_000_000n, memoryBytes: 1024n ** 3n * 102n, memorySwap: -1n, pidsLimit: 7n },
          restart: { name: "on-failure", maximumRetryCount: 3, timeoutNs: 0n },
          readOnlyRootfs: true,
          networkMode: "none",
          mounts: [mount("tmpfs", "", "/scratch")],
        },
      },
      {
        image: "python:3.11-slim",
        command: ["python", "-c"],
        args: ["print('ü')", ""],
        env: { A: "b=c", EMPTY: "" },
        workingDir: "/work dir",
        limits: { nanoCpu: 500_000_000n, memoryBytes: 1024n ** 3n * 102n, memorySwapBytes: -1n, pids: 7n },
        restart: { name: "on-failure", maximumRetryCount: 3 },
        readOnlyRootfs: true,
        mounts: [{ kind: "tmpfs", target: "/scratch", readOnly: false }],
      },
    ],
    [
      "limits that are not named: the default where the session has more",
      { session: { limits: { nanoCpu: 2_000_000_000n, memoryBytes: 1024n * mb, pidsLimit: 1_000n } } },
      { limits: { nanoCpu: 1_000_000_000n, memoryBytes: 512n * mb, memorySwapBytes: 512n * mb, pids: 256n } },
    ],
    [
      "limits that are not named: what is left of the session's where that is less",
      {
        session: { limits: { nanoCpu: 2_000_000_000n, memoryBytes: 640n * mb, pidsLimit: 100n } },
        used: { nanoCpu: 1_500_000_000n, memoryBytes: 600n * mb, memorySwap: 600n * mb, pidsLimit: 90n },
      },
      { limits: { nanoCpu: 500_000_000n, memoryBytes: 40n * mb, memorySwapBytes: 40n * mb, pids: 10n } },
    ],
    [
      "all that is left",
      {
        config: { limits: { nanoCpu: 1n, memoryBytes: 10n * mb, memorySwap: 0n, pidsLimit: 3n } },
        session: { limits: { nanoCpu: 10n, memoryBytes: 64n * mb, pidsLimit: 4n } },
        used: { nanoCpu: 9n, memoryBytes: 54n * mb, memorySwap: 54n * mb, pidsLimit: 1n },
      },
      { limits: { nanoCpu: 1n, memoryBytes: 10n * mb, memorySwapBytes: 10n * mb, pids: 3n } },
    ],
    [
      "swap where the session has it",
      {
        config: { limits: { ...none, memoryBytes: 10n * mb, memorySwap: 20n * mb } },
        session: { limits: { memoryBytes: 10n * mb, memorySwap: 20n * mb } },
      },
      { limits: { ...specLimits, memoryBytes: 10n * mb, memorySwapBytes: 20n * mb } },
    ],
    [
      "swap without end where the session has that",
      {
        config: { limits: { ...none, memoryBytes: 10n * mb, memorySwap: -1n } },
        session: { limits: { memoryBytes: 10n * mb, memorySwap: -1n } },
        used: { memorySwap: 2n ** 63n },
      },
      { limits: { ...specLimits, memoryBytes: 10n * mb, memorySwapBytes: -1n } },
    ],
    [
      "no more memory than the swap that includes it",
      { config: { limits: { ...none, memorySwap: 20n * mb } } },
      { limits: { ...specLimits, memoryBytes: 20n * mb, memorySwapBytes: 20n * mb } },
    ],
    [
      "the session's network, with the name as alias and hostname",
      { config: { name: "web" }, session: { policy: { allowNetwork: true } } },
      { networkMode: "baaaht-s1", networks: [], aliases: ["web"], hostname: "web" },
    ],
    [
      "no network where the container wants none",
      { config: { name: "web", networkMode: "none" }, session: { policy: { allowNetwork: true } } },
      { networkMode: "none", hostname: "web" },
    ],
    [
      "a further network that the session names",
      {
        config: { networks: ["shared"], networkMode: "bridge" },
        session: { policy: { allowNetwork: true, allowedNetworks: ["shared"] } },
      },
      { networkMode: "baaaht-s1", networks: ["shared"] },
    ],
    [
      "ports, reached from this host alone unless it is asked for otherwise",
      {
        config: {
          ports: [
            { containerPort: 80, hostPort: 0, protocol: "", hostIp: "" },
            { containerPort: 53, hostPort: 5353, protocol: "udp", hostIp: "0.0.0.0" },
          ],
        },
        session: { policy: { allowNetwork: true } },
      },
      {
        ports: [
          { containerPort: 80, hostPort: 0, protocol: "tcp", hostIp: "127.0.0.1" },
          { containerPort: 53, hostPort: 5353, protocol: "udp", hostIp: "0.0.0.0" },
        ],
      },
    ],
    [
      "volumes of the session's own, with and without a name",
      {
        config: { mounts: [mount("volume", "cache", "/a/../cache"), mount("volume", "", "/b")] },
        session: { policy: { allowVolumeMount: true } },
      },
      {
        mounts: [
          { kind: "volume", source: "baaaht-s1-cache", target: "/cache", readOnly: false },
          { kind: "volume", source: "", target: "/b", readOnly: false },
        ],
      },
    ],
    [
      "paths at and under the allowed ones, by their real names",
      {
        config: {
          mounts: [
            mount("bind", "/data", "/a"),
            { ...mount("bind", "/data/../data/in/", "/b"), readOnly: true },
            mount("bind", "/elsewhere/link", "/c"),
          ],
        },
        session: { policy: { allowVolumeMount: true, allowedPaths: ["/other", "/x/../data/"] } },
      },
      {
        mounts: [
          { kind: "bind", source: "/data", target: "/a", readOnly: false },
          { kind: "bind", source: "/data/in", target: "/b", readOnly: true },
          { kind: "bind", source: "/data/in", target: "/c", readOnly: false },
        ],
      },
    ],
  ];
  test.each(table)("%s", (_, given, expected) => {
    expect(allowed(given)).toMatchObject(expected);
  });
});

describe("judgeContainer() refuses", () => {
  const limits = { nanoCpu: 20_000_000n, memoryBytes: 20n * mb, pidsLimit: 10n };
  const asks = (more: Partial<ResourceLimits>): Given => ({
    config: { limits: { ...none, ...more } },
    session: { limits },
  });
  const limit = (name: string) => `config.resource_limits.${name}`;
  const table: readonly [string, Given, readonly [Refusal["kind"], string, string][]][] = [
    ["an image", { session: { allowedImages: ["python:*"] } }, [["denied", "config.image", "python:*"]]],
    [
      "more processors than the session has",
      asks({ nanoCpu: 20_000_001n }),
      [["denied", limit("nano_cpu"), "20000000"]],
    ],
    [
      "more memory than the session has",
      asks({ memoryBytes: 20n * mb + 1n, memorySwap: 20n * mb }),
      [["denied", limit("memory_bytes"), "20971520"]],
    ],
    [
      "more processes than the session has",
      asks({ pidsLimit: 11n }),
      [["denied", limit("pids_limit"), "10"]],
    ],
    [
      "more swap than the session has memory",
      asks({ memorySwap: 21n * mb }),
      [["denied", limit("memory_swap"), "20971520"]],
    ],
    ["swap without end", asks({ memorySwap: -1n }), [["denied", limit("memory_swap"), "is -1;"]]],
    [
      "what is more than is left",
      {
        config: { limits: { nanoCpu: 10_000_001n, memoryBytes: 11n * mb, memorySwap: 0n, pidsLimit: 6n } },
        session: { limits },
        used: { nanoCpu: 10_000_000n, memoryBytes: 10n * mb, memorySwap: 10n * mb, pidsLimit: 5n },
      },
      [
        ["exhausted", limit("nano_cpu"), "is 10000001; 10000000 is left of the session's 20000000"],
        ["exhausted", limit("memory_bytes"), "is 11534336; 10485760 is left of the session's 20971520"],
        ["exhausted", limit("pids_limit"), "is 6; 5 is left of the session's 10"],
      ],
    ],
    [
      "more swap than is left",
      {
        config: { limits: { ...none, memoryBytes: 10n * mb, memorySwap: 30n * mb } },
        session: { limits: { memoryBytes: 20n * mb, memorySwap: 40n * mb } },
        used: { memoryBytes: 10n * mb, memorySwap: 20n * mb },
      },
      [["exhausted", limit("memory_swap"), "is 31457280; 20971520 is left of the session's 41943040"]],
    ],
    [
      "to share out what is not left, also after the session's limits were made smaller",
      {
        session: { limits },
        used: { nanoCpu: 15_000_000n, memoryBytes: 30n * mb, memorySwap: 30n * mb, pidsLimit: 10n },
      },
      [
        [
          "exhausted",
          limit("nano_cpu"),
          "is not given; 5000000 is left of the session's 20000000, and 10000000 is the least",
        ],
        ["exhausted", limit("memory_bytes"), "0 is left"],
        ["exhausted", limit("pids_limit"), "0 is left"],
      ],
    ],
    [
      "mounts of the host and of volumes, not of memory, without allow_volume_mount",
      {
        config: {
          mounts: [mount("tmpfs", "", "/t"), mount("bind", "/data", "/a"), mount("volume", "v", "/b")],
        },
      },
      [
        ["denied", "config.mounts[1]", "is a bind: the session's policy has no allow_volume_mount"],
        ["denied", "config.mounts[2]", "is a volume: the session's policy has no allow_volume_mount"],
      ],
    ],
    ["a path where none is allowed", binds(["/data"], []), [["denied", "config.mounts[0].source", "(none)"]]],
    [
      "a path beside the allowed ones",
      binds(["/etc", "/database"]),
      [denied(0, "/data"), denied(1, "/data")],
    ],
    ["a link that leads out", binds(["/data/link"]), [denied(0, "leads elsewhere")]],
    [
      "a path that is not there",
      binds(["/data/gone"]),
      [["invalid", "config.mounts[0].source", "is not there"]],
    ],
    [
      "a path out of bounds, there or not, in the same words",
      binds(["/gone"]),
      [denied(0, "allowed_paths (/data)")],
    ],
    ["a path that can't be looked at", binds(["/data/hidden"]), [denied(0, "EACCES")]],
    ["a path that nobody looked at", binds(["/data/unknown"]), [denied(0, "it was not looked at")]],
    [
      "what is guarded, whatever policy says",
      binds(["/data/socket"], ["/"]),
      [denied(0, "the container engine's socket")],
    ],
    [
      "what holds, is, or is in what is guarded",
      binds(["/", "/srv", "/srv/own", "/srv/own/data", "/proc/1"], ["/"]),
      [
        denied(0, "holds the kernel's /proc"),
        denied(1, "holds the server's data folder"),
        denied(2, "is the server's data folder"),
        denied(3, "is the server's data folder"),
        denied(4, "is the kernel's /proc"),
      ],
    ],
    [
      "a path that the server does not allow",
      { ...binds(["/data", "/data/in"]), allowedPaths: ["/data/in"] },
      [denied(0, "runtime.allowed-paths")],
    ],
    [
      "another's network",
      { config: { networkMode: "host" }, session: { policy: { allowNetwork: true } } },
      [["denied", "config.network_mode", '"host"']],
    ],
    [
      "another container's network",
      { config: { networkMode: "container:abc" }, session: { policy: { allowNetwork: true } } },
      [["denied", "config.network_mode", '"container:abc"']],
    ],
    [
      "a network without allow_network",
      { config: { networkMode: "bridge" } },
      [["denied", "config.network_mode", "allow_network"]],
    ],
    [
      "ports and further networks without allow_network",
      {
        config: {
          networks: ["shared"],
          ports: [{ containerPort: 80, hostPort: 0, protocol: "", hostIp: "" }],
        },
        session: { policy: { allowedNetworks: ["shared"] } },
      },
      [
        ["denied", "config.ports", "allow_network"],
        ["denied", "config.networks[0]", "allow_network"],
      ],
    ],
    [
      "networks that the session does not name, that are the engine's or a session's, and that are not there",
      {
        config: { networks: ["other", "bridge", "theirs", "lost"] },
        session: { policy: { allowNetwork: true, allowedNetworks: ["shared", "bridge", "theirs", "lost"] } },
      },
      [
        ["denied", "config.networks[0]", "shared, bridge, theirs, lost"],
        ["denied", "config.networks[1]", "the engine's own"],
        ["denied", "config.networks[2]", "the network of a session"],
        ["invalid", "config.networks[3]", "does not have"],
      ],
    ],
    [
      "all that it refuses, at once",
      {
        config: {
          image: "evil:1",
          limits: { nanoCpu: 2n, memoryBytes: 2n, memorySwap: 0n, pidsLimit: 2n },
          mounts: [mount("bind", "/etc", "/host")],
          networkMode: "host",
        },
        session: { allowedImages: ["python:*"], limits: { nanoCpu: 1n, memoryBytes: 1n, pidsLimit: 1n } },
      },
      [
        ["denied", "config.image", ""],
        ["denied", limit("nano_cpu"), ""],
        ["denied", limit("memory_bytes"), ""],
        ["denied", limit("pids_limit"), ""],
        ["denied", "config.mounts[0]", ""],
        ["denied", "config.network_mode", ""],
      ],
    ],
  ];
  test.each(table)("%s", (_, given, expected) => {
    const verdict = judge(given);
    const refusals = verdict.kind === "refused" ? verdict.refusals : [];
    expect(refusals.map(({ kind, field }) => [kind, field])).toEqual(
      expected.map(([kind, field]) => [kind, field]),
    );
    expected.forEach(([, , words], index) => {
      expect(refusals[index]?.description).toContain(words);
    });
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

function judge({ config = {}, session = {}, used = {}, allowedPaths = ["/"] }: Given) {
  return judgeContainer(containerConfig(config), {
    session: { id: "s1" as SessionId, config: sessionConfig(session) }, // as: any text will do here
    used: { ...none, ...used },
    defaults: { ...server, allowedPaths },
    found: { paths: new Map(Object.entries(paths)), networks: new Map(Object.entries(networks)), guarded },
  });
}

function allowed(given: Given): HardenedSpec {
  const verdict = judge(given);
  if (verdict.kind === "allowed") return verdict.spec;
  throw new Error(JSON.stringify(verdict.refusals));
}

function there(path: string): FoundPath {
  return { kind: "there", path, guarded: "" };
}

function mount(type: "bind" | "volume" | "tmpfs", source: string, target: string) {
  return { type, source, target, readOnly: false };
}

function binds(sources: readonly string[], allowedPaths: readonly string[] = ["/data"]): Given {
  return {
    config: { mounts: sources.map((source, index) => mount("bind", source, `/m${index}`)) },
    session: { policy: { allowVolumeMount: true, allowedPaths } },
  };
}

function denied(index: number, words: string): [Refusal["kind"], string, string] {
  return ["denied", `config.mounts[${index}].source`, words];
}
