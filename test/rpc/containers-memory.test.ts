import { afterAll, beforeAll, expect, test } from "bun:test";
import { Priority } from "../../src/gen/proto/common/v1/common_pb.ts";
import { ContainerState, EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { baaaht } from "../cli/command-line.ts";
import { type ContainerServer, containerServer, eventOf, exec } from "./container-client.ts";

let shared: ContainerServer;

beforeAll(async () => {
  shared = await containerServer();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;
const LONG = { timeoutMs: 30_000 };
const resourceLimits = { memoryBytes: 16_777_216n };
const HUNGRY = "tail /dev/zero";

test(
  "a child that ran out of memory is told at once, and with the end of a container that ends as it likes",
  async () => {
    const { orchestrator } = shared.client;
    const script = `${HUNGRY}; trap 'exit 3' TERM; while :; do sleep 0.05; done`;
    const containerId = await shared.create({ command: ["sh", "-c", script], resourceLimits });
    const threshold = await eventOf(
      shared.client,
      EventType.RESOURCE_THRESHOLD,
      ({ metadata }) => metadata?.containerId === containerId,
    );
    expect(threshold).toMatchObject({
      source: "containers",
      data: { resource: "memory", oom_killed: "true", limit: "16777216" },
      metadata: { priority: Priority.HIGH, sessionId: shared.sessionId },
    });
    const { container } = await orchestrator.getContainer({ containerId });
    expect(container).toMatchObject({ state: ContainerState.RUNNING, oomKilled: true });
    await orchestrator.stopContainer({ containerId }, LONG);
    expect(await orchestrator.waitContainer({ containerId })).toMatchObject({ exitCode: 3, oomKilled: true });
    const stopped = await eventOf(
      shared.client,
      EventType.CONTAINER_STOPPED,
      ({ metadata }) => metadata?.containerId === containerId,
    );
    expect(stopped.data).toMatchObject({ exit_code: "3", oom_killed: "true" });
    const env = { GRPC_SOCKET_PATH: shared.server.socketPath };
    expect((await baaaht(["container", "get", containerId], { env })).stdout).toMatch(/^Memory: +a process/m);
    await orchestrator.removeContainer({ containerId });
  },
  TIMEOUT_MS,
);

test(
  "a command that ran out of memory marks the container that it ran in, and 137 alone marks none",
  async () => {
    const { orchestrator } = shared.client;
    const containerId = await shared.create({ resourceLimits });
    const { ends } = await exec(shared.client, { containerId, command: ["tail", "/dev/zero"] });
    expect(ends.map(({ how }) => how)).toMatchObject([{ case: "exited", value: { code: 137 } }]);
    await eventOf(
      shared.client,
      EventType.RESOURCE_THRESHOLD,
      ({ metadata }) => metadata?.containerId === containerId,
    );
    expect((await orchestrator.getContainer({ containerId })).container?.oomKilled).toBe(true);
    await orchestrator.removeContainer({ containerId, force: true }, LONG);

    const killed = await shared.create({ command: ["sleep", "1000"], resourceLimits });
    await orchestrator.stopContainer({ containerId: killed, timeoutNs: 1n }, LONG);
    expect(await orchestrator.waitContainer({ containerId: killed })).toMatchObject({
      exitCode: 137,
      oomKilled: false,
    });
    await orchestrator.removeContainer({ containerId: killed });
  },
  TIMEOUT_MS,
);

test(
  "run says whether it was the command or a process of it that ran out of memory",
  async () => {
    const env = { GRPC_SOCKET_PATH: shared.server.socketPath };
    const run = (command: readonly string[]) =>
      baaaht(["run", "--memory", "16m", "--no-stdin", shared.image, ...command], { env });
    expect(await run(["tail", "/dev/zero"])).toMatchObject({
      exitCode: 137,
      stderr: "The command was killed: it wanted more memory than it may have\n",
    });
    const child = await run(["sh", "-c", `${HUNGRY}; exit 4`]);
    expect(child.exitCode).toBe(4);
    expect(child.stderr).toContain("A process of the command was killed: it wanted more memory");
  },
  TIMEOUT_MS,
);
