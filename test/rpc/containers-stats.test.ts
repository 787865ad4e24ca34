import { afterAll, beforeAll, expect, test } from "bun:test";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { reaching, typed } from "../cli/command-line.ts";
import { thrown } from "../client/thrown.ts";
import { type ContainerServer, containerServer, eventOf } from "./container-client.ts";

let shared: ContainerServer;

beforeAll(async () => {
  shared = await containerServer({ env: { BAAAHT_RUNTIME_STATS_INTERVAL: "1s" } });
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;
const LONG = { timeoutMs: 30_000 };

test(
  "StreamContainerStats measures a busy container, and ends OK when it ends",
  async () => {
    const { orchestrator } = shared.client;
    const containerId = await shared.create({
      command: ["sh", "-c", "trap 'exit 0' TERM; while :; do :; done"],
      resourceLimits: { nanoCpu: 200_000_000n, memoryBytes: 33_554_432n, pidsLimit: 50n },
    });
    const readings = [];
    for await (const reading of orchestrator.streamContainerStats({ containerId }, LONG)) {
      readings.push(reading);
      if (readings.length === 3) void orchestrator.stopContainer({ containerId }, LONG);
    }
    expect(readings.length).toBeGreaterThanOrEqual(3);
    const [first, , third] = readings;
    expect(first).toMatchObject({ containerId, usage: { memoryLimit: 33_554_432n, networkRx: 0n } });
    expect(third?.usage?.memoryUsage).toBeGreaterThan(0n);
    expect(third?.usage?.memoryPercent).toBeGreaterThan(0);
    expect(third?.usage?.pidsCount).toBe(1n);
    // It may have a fifth of a core: in percent of one core, and not of all that there are.
    expect(third?.usage?.cpuPercent).toBeGreaterThan(0);
    expect(third?.usage?.cpuPercent).toBeLessThan(60);
    expect(Number(third?.timestamp?.seconds)).toBeGreaterThan(Number(first?.timestamp?.seconds));
    const ended = await thrown(async () => {
      for await (const _ of orchestrator.streamContainerStats({ containerId }));
    });
    expect(ended).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "CONTAINER_NOT_RUNNING" },
    });
    await orchestrator.removeContainer({ containerId });
  },
  TIMEOUT_MS,
);

test(
  "containers and their session carry the last reading, and a mark that is reached is told",
  async () => {
    const { orchestrator } = shared.client;
    const nine = "for n in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait";
    const config = { command: ["sh", "-c", nine], resourceLimits: { pidsLimit: 10n } };
    const { sessionId } = await orchestrator.createSession({});
    const created = await orchestrator.createContainer(
      { sessionId, config: { image: shared.image, ...config } },
      LONG,
    );
    const { containerId } = created;
    const event = await eventOf(
      shared.client,
      EventType.RESOURCE_THRESHOLD,
      ({ metadata }) => metadata?.containerId === containerId,
    );
    expect(event.data).toEqual({ resource: "pids", mark: "80", percent: "90.0", usage: "9", limit: "10" });
    const { container } = await orchestrator.getContainer({ containerId });
    expect(container?.resources?.pidsCount).toBe(9n);
    const { session } = await orchestrator.getSession({ sessionId });
    expect(session?.context?.resourceUsage).toMatchObject({ pidsCount: 9n, memoryLimit: 536_870_912n });
    const listed = await orchestrator.listContainers({ filter: { sessionId } });
    expect(listed.containers[0]?.resources?.pidsCount).toBe(9n);
    const { sessions } = await orchestrator.listSessions({});
    expect(sessions.find(({ id }) => id === sessionId)?.context?.resourceUsage?.pidsCount).toBe(9n);
    await orchestrator.closeSession({ sessionId }, LONG);
    const closed = await orchestrator.getSession({ sessionId });
    expect(closed.session?.context?.resourceUsage).toBeUndefined();
  },
  TIMEOUT_MS,
);

test.each([
  ["no id", { containerId: "" }, "container_id", "is missing"],
  [
    "an interval that is too short",
    { containerId: "x", intervalNs: 99_999_999n },
    "interval_ns",
    "is 99999999;",
  ],
  ["a negative interval", { containerId: "x", intervalNs: -1n }, "interval_ns", "is -1;"],
  [
    "an interval without an end",
    { containerId: "x", intervalNs: 9_223_372_036_854_775_807n },
    "interval_ns",
    "are allowed",
  ],
])("StreamContainerStats of %s is INVALID_ARGUMENT and names the field", async (_, request, field, why) => {
  const { kind, details } = await thrown(async () => {
    for await (const _reading of shared.client.orchestrator.streamContainerStats(request));
  });
  expect(kind).toBe("invalid_argument");
  expect(details.violations).toMatchObject([{ field, description: expect.stringContaining(why) }]);
});

test("StreamContainerStats of nobody is NOT_FOUND", async () => {
  const failure = await thrown(async () => {
    for await (const _ of shared.client.orchestrator.streamContainerStats({ containerId: "nobody" }));
  });
  expect(failure).toMatchObject({ kind: "not_found", details: { reason: "CONTAINER_NOT_FOUND" } });
});

test(
  "container stats draws a table over itself on a terminal, writes JSON lines otherwise, and one table with --no-stream",
  async () => {
    const { orchestrator } = shared.client;
    const containerId = await shared.create();
    const shell = { server: reaching(shared.server.socketPath) };
    const onTerminal = typed(["container", "stats", containerId], shell, { columns: 140 });
    const piped = typed(["container", "stats", containerId], shell);
    let count = 0;
    for await (const _ of orchestrator.streamContainerStats({ containerId }, LONG)) {
      count += 1;
      if (count === 3) break;
    }
    const once = await typed(["container", "stats", "--no-stream"], shell);
    expect(once.stdout).toMatch(/^ID +CPU +MEMORY +MEMORY % +/);
    expect(once.stdout).toMatch(new RegExp(`^${containerId} +\\d+\\.\\d% +[\\d.]+[KM]iB of 512MiB`, "m"));
    await orchestrator.stopContainer({ containerId }, LONG);
    const { exitCode, stdout } = await onTerminal;
    expect(exitCode).toBe(0);
    const drawings = stdout.split("\u001b[J").slice(1);
    expect(drawings.length).toBeGreaterThanOrEqual(2);
    expect(drawings[0]).toMatch(new RegExp(`^\u001b\\[1mID.*\n${containerId} .*\n\r\u001b\\[2A$`));
    const lines = (await piped).stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject(
      lines.map(() => ({ containerId, usage: { memoryLimit: "536870912" } })),
    );
    const ended = await typed(["container", "stats", containerId], shell);
    expect(ended).toMatchObject({
      exitCode: 19,
      stderr: expect.stringContaining("it is exited, not running"),
    });
  },
  TIMEOUT_MS,
);
