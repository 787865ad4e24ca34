import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as grpc from "@grpc/grpc-js";
import { OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, startCanary } from "./canary.ts";
import { refusalOf } from "./refusal.ts";

const { method } = OrchestratorService;
const { INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, UNAVAILABLE } = grpc.status;

let server: TestServer;
let canary: Canary;
let client: grpc.Client;
let sessionId: string;

// Without an engine: what is wrong as such is refused before anybody is asked.
beforeAll(async () => {
  server = await startServer();
  canary = await startCanary(server);
  client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
  const policy = { allowNetwork: true, allowVolumeMount: true, allowedPaths: ["/"] };
  ({ sessionId } = await server.client.orchestrator.createSession({ config: { policy } }));
}, 30_000);

afterAll(async () => {
  client?.close();
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
}, 30_000);

const most = 9_223_372_036_854_775_807n;
const least = -9_223_372_036_854_775_808n;
const [BIND, VOLUME, TMPFS] = [1, 2, 3];

/** What is asked for, the fields that are named as wrong, and words of the message. */
type Row = readonly [string, Record<string, unknown>, readonly string[], ...string[]];

const limits = "config.resource_limits";
const limitRows: readonly Row[] = [
  [
    "negative limits",
    { resourceLimits: { nanoCpu: -1n, memoryBytes: -1n, memorySwap: -2n, pidsLimit: -1n } },
    [`${limits}.nano_cpu`, `${limits}.memory_bytes`, `${limits}.memory_swap`, `${limits}.pids_limit`],
  ],
  [
    "the least numbers that there are",
    { resourceLimits: { nanoCpu: least, pidsLimit: least } },
    [`${limits}.nano_cpu`, `${limits}.pids_limit`],
  ],
  [
    "more processes than Linux has",
    { resourceLimits: { pidsLimit: most } },
    [`${limits}.pids_limit`],
    "4194304",
  ],
  [
    "less than 6 MiB",
    { resourceLimits: { memoryBytes: 6_291_455n } },
    [`${limits}.memory_bytes`],
    "at least 6291456 (6 MiB)",
  ],
  [
    "less swap than memory",
    { resourceLimits: { memoryBytes: 10_000_000n, memorySwap: 9_999_999n } },
    [`${limits}.memory_swap`],
  ],
];

const portRows: readonly Row[] = [
  [
    "ports out of range",
    {
      ports: [
        { containerPort: 0 },
        { containerPort: 65_536, hostPort: -1 },
        { containerPort: 1, hostPort: 2_147_483_647 },
      ],
    },
    [
      "config.ports[0].container_port",
      "config.ports[1].container_port",
      "config.ports[1].host_port",
      "config.ports[2].host_port",
    ],
  ],
  [
    "one host port twice",
    {
      ports: [
        { containerPort: 1, hostPort: 80 },
        { containerPort: 2, hostPort: 80, protocol: "tcp" },
      ],
    },
    ["config.ports[0].host_port", "config.ports[1].host_port"],
  ],
  [
    "a protocol and an address that are none",
    { ports: [{ containerPort: 1, protocol: "TCP", hostIp: "example.org" }] },
    ["config.ports[0].protocol", "config.ports[0].host_ip"],
  ],
  [
    "ports where no network is wanted",
    { networkMode: "none", ports: [{ containerPort: 1 }] },
    ["config.ports"],
  ],
  [
    "300 ports",
    { ports: Array.from({ length: 300 }, () => ({ containerPort: 1 })) },
    ["config.ports"],
    "at most 256",
  ],
];

const nameRows: readonly Row[] = [
  ["a name with a slash", { name: "a/b" }, ["config.name"], "a-z, 0-9 and -"],
  ["a name with a NUL", { name: "a\0" }, ["config.name"]],
  ["a name of 1 MB", { name: "a".repeat(1_000_000) }, ["config.name"]],
  ["a network with a slash", { networks: ["a/b"] }, ["config.networks[0]"]],
  ["a mode that there is not", { networkMode: "mesh" }, ["config.network_mode"], "none and bridge"],
  [
    "a volume with a slash",
    { mounts: [{ type: VOLUME, source: "a/b", target: "/x" }] },
    ["config.mounts[0].source"],
  ],
  [
    "a volume that leaves its folder",
    { mounts: [{ type: VOLUME, source: "../x", target: "/x" }] },
    ["config.mounts[0].source"],
  ],
];

const mountRows: readonly Row[] = [
  [
    "mounts over each other",
    {
      mounts: [
        { type: TMPFS, target: "/a" },
        { type: TMPFS, target: "/b/../a/" },
      ],
    },
    ["config.mounts[0].target", "config.mounts[1].target"],
  ],
  [
    "mounts of no type, on nothing, on the root, in /proc",
    {
      mounts: [
        { target: "/a" },
        { type: TMPFS, target: "" },
        { type: TMPFS, target: "//" },
        { type: TMPFS, target: "/proc/sys" },
      ],
    },
    [
      "config.mounts[0].type",
      "config.mounts[1].target",
      "config.mounts[2].target",
      "config.mounts[3].target",
    ],
  ],
  [
    "paths with a NUL, relative, and missing",
    {
      mounts: [
        { type: BIND, source: "/a\0b", target: "/a" },
        { type: BIND, source: "../etc", target: "/b" },
        { type: BIND, target: "/c" },
        { type: TMPFS, source: "/etc", target: "/d\0" },
      ],
    },
    [
      "config.mounts[0].source",
      "config.mounts[1].source",
      "config.mounts[2].source",
      "config.mounts[3].target",
      "config.mounts[3].source",
    ],
  ],
  [
    "65 mounts",
    { mounts: Array.from({ length: 65 }, (_, n) => ({ type: TMPFS, target: `/${n}` })) },
    ["config.mounts"],
  ],
];

const wordRows: readonly Row[] = [
  [
    "10,000 labels",
    { labels: Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`l${n}`, ""])) },
    ["config.labels"],
    "has 10000 entries",
  ],
  ["a label of the server's", { labels: { "baaaht.session": "x" } }, ['config.labels["baaaht.session"]']],
  ["a variable of 1 MB", { env: { A: "x".repeat(1_000_000) } }, ["config.env"], "131071"],
  [
    "3 MB of environment",
    { env: Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`E${n}`, "x".repeat(100_000)])) },
    ["config"],
    "2097152",
  ],
  [
    "NULs",
    { command: ["a\0"], args: ["\0"], env: { A: "\0" }, workingDir: "/\0" },
    ["config.command", "config.args", "config.env", "config.working_dir"],
  ],
  ["a program without a name", { command: [""] }, ["config.command"]],
  ["no image", { image: "" }, ["config.image"]],
  ["an image with blanks", { image: "a b" }, ["config.image"]],
  ["an image with half a digest", { image: "a@sha256:12" }, ["config.image"]],
  [
    "a restart policy that there is not",
    { restartPolicy: { name: "maybe", maximumRetryCount: -1, timeoutNs: -1n } },
    [
      "config.restart_policy.name",
      "config.restart_policy.maximum_retry_count",
      "config.restart_policy.timeout_ns",
    ],
  ],
];

describe("CreateContainer() names what is wrong:", () => {
  test.each([...limitRows, ...portRows, ...nameRows, ...mountRows, ...wordRows])(
    "%s",
    async (_, more, fields, words = "") => {
      const request = { sessionId, config: { image: "demo:1", ...more } };
      const refusal = await refusalOf(client, method.createContainer, request);
      expect(refusal).toMatchObject({ code: INVALID_ARGUMENT, reason: "INVALID_ARGUMENT" });
      expect(refusal.fields).toEqual([...fields]);
      expect(refusal.message).toStartWith("Cannot create a container: ");
      expect(refusal.message).toContain(words);
      expect((await server.client.orchestrator.getSession({ sessionId })).session?.containerIds).toEqual([]);
    },
  );

  test("1 MB of environment in many variables is nothing wrong: it is the engine that is missing here", async () => {
    const env = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`E${n}`, "x".repeat(100_000)]));
    const refusal = await refusalOf(client, method.createContainer, {
      sessionId,
      config: { image: "demo:1", env },
    });
    expect(refusal).toMatchObject({ code: UNAVAILABLE, reason: "RUNTIME_UNAVAILABLE" });
  });
});

describe("ApproveContainer() and RejectContainer()", () => {
  test.each(["approveContainer", "rejectContainer"] as const)(
    "%s names an id that is missing, too long or nobody's",
    async (name) => {
      for (const [containerId, code] of [
        ["", INVALID_ARGUMENT],
        ["x".repeat(1_000), INVALID_ARGUMENT],
        ["a\0", INVALID_ARGUMENT],
        ["nobody", NOT_FOUND],
      ] as const) {
        expect((await refusalOf(client, method[name], { containerId })).code).toBe(code);
      }
    },
  );

  test("a reason that is too long is INVALID_ARGUMENT, and it goes on waiting", async () => {
    const { orchestrator } = server.client;
    const { sessionId: careful } = await orchestrator.createSession({
      config: { policy: { requireApproval: true } },
    });
    const { container } = await orchestrator.createContainer({
      sessionId: careful,
      config: { image: "demo:1" },
    });
    expect(container).toMatchObject({ state: 1, stateReason: "it waits for approval" });
    const containerId = container?.id ?? "";
    const long = await refusalOf(client, method.rejectContainer, { containerId, reason: "x".repeat(1_025) });
    expect(long).toMatchObject({ code: INVALID_ARGUMENT, fields: ["reason"] });
    const stopping = await refusalOf(client, method.stopContainer, { containerId });
    expect(stopping).toMatchObject({ code: FAILED_PRECONDITION, reason: "CONTAINER_WAITS" });
    await orchestrator.rejectContainer({ containerId, reason: "no" });
    expect((await refusalOf(client, method.rejectContainer, { containerId })).code).toBe(NOT_FOUND);
  });
});
