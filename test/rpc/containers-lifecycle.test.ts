import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { callEngine } from "../../scripts/engine-api.ts";
import { HealthCheckResponse_ServingStatus as Serving } from "../../src/gen/grpc/health/v1/health_pb.ts";
import {
  ContainerState,
  type Event,
  EventType,
  type ExecContainerResponse,
  PullPolicy,
  SessionState,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engineContainers } from "../daemon/engine-containers.ts";
import { engine, type TestEngine } from "../engine.ts";
import { EngineProxy } from "../runtime/docker/engine-proxy.ts";
import { type ContainerServer, containerServer, eventOf, exec, outcome } from "./container-client.ts";

let docker: TestEngine;
let shared: ContainerServer;

beforeAll(async () => {
  docker = await engine();
  shared = await containerServer();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

describe("CreateContainer on a real engine", () => {
  test("closes what nobody asked to be open, and hands on what was asked for exactly", async () => {
    const odd = "ß = 'x' \"y\" $HOME\nnext";
    const id = await shared.create({
      command: ["sh"],
      args: ["-c", "while :; do sleep 0.05; done", odd],
      env: { ODD: odd },
      workingDir: "/tmp",
      labels: { "my.label": odd },
      resourceLimits: { nanoCpu: 500_000_000n, memoryBytes: 33_554_432n, pidsLimit: 17n },
      readOnlyRootfs: true,
    });
    const { Config, HostConfig } = await inspect(shared, id);
    expect(Config).toMatchObject({
      Entrypoint: ["sh"],
      Cmd: ["-c", "while :; do sleep 0.05; done", odd],
      Env: expect.arrayContaining([`ODD=${odd}`]),
      WorkingDir: "/tmp",
      Labels: expect.objectContaining({ "my.label": odd, "baaaht.container": id }),
    });
    expect(HostConfig).toMatchObject({
      NanoCpus: 500_000_000,
      Memory: 33_554_432,
      MemorySwap: 33_554_432,
      PidsLimit: 17,
      ReadonlyRootfs: true,
      NetworkMode: "none",
      CapDrop: ["ALL"],
      Privileged: false,
      SecurityOpt: ["no-new-privileges:true"],
    });
    const own = await exec(shared.client, {
      containerId: id,
      command: [
        "sh",
        "-c",
        "grep -E 'CapEff|NoNewPrivs' /proc/self/status; ls /sys/class/net; touch /x || true",
      ],
    });
    expect(own.stdout.toString()).toMatch(/CapEff:\s*0000000000000000\nNoNewPrivs:\s*1\nlo\n/);
    expect(own.stderr.toString()).toContain("Read-only");
    const { container } = await shared.client.orchestrator.getContainer({ containerId: id });
    expect(container).toMatchObject({ state: ContainerState.RUNNING, sessionId: shared.sessionId });
    await remove(shared, id);
  });

  test.each([
    ["an image that is nowhere", { image: "baaaht-no-such-image:1" }, "not_found"],
    ["a command that is not there", { command: ["nothing-of-this-name"] }, "failed_precondition"],
    ["memory that no container can run in", { resourceLimits: { memoryBytes: 1n } }, "invalid_argument"],
  ] as const)("leaves nothing of %s", async (_, config, kind) => {
    const { command = ["true"], ...rest } = config as { command?: readonly string[] }; // as: the rows are narrower
    const request = { sessionId: shared.sessionId, pull: PullPolicy.NEVER };
    const failure = await thrown(() =>
      shared.client.orchestrator.createContainer({
        ...request,
        config: { image: shared.image, ...rest, command: [...command] },
      }),
    );
    expect(failure.kind).toBe(kind);
    expect(await engineContainers(docker.dockerHost, shared.sessionId)).toEqual([]);
    const { session } = await shared.client.orchestrator.getSession({ sessionId: shared.sessionId });
    expect(session?.containerIds).toEqual([]);
  });
});

describe("what happens to a container", () => {
  test("an end for want of memory is told", async () => {
    const command = ["sh", "-c", "x=y; while :; do x=$x$x; done"];
    const id = await shared.create({ command, resourceLimits: { memoryBytes: 16_777_216n } });
    const ended = await shared.client.orchestrator.waitContainer({ containerId: id }, { timeoutMs: 20_000 });
    expect(ended).toMatchObject({ state: ContainerState.EXITED, exitCode: 137, oomKilled: true });
    const event = await stopped(shared, id);
    expect(event).toMatchObject({ source: "containers", data: { exit_code: "137", oom_killed: "true" } });
    await remove(shared, id);
  }, 25_000);

  test("one that restarts is told to start again, and to stop once", async () => {
    const id = await shared.create({
      command: ["sh", "-c", "sleep 0.1; exit 3"],
      restartPolicy: { name: "on-failure", maximumRetryCount: 2 },
    });
    const ended = await shared.client.orchestrator.waitContainer({ containerId: id }, { timeoutMs: 20_000 });
    expect(ended).toMatchObject({ state: ContainerState.EXITED, exitCode: 3 });
    const { dockerHost } = docker;
    const { RestartCount } = await inspect(shared, id);
    expect([RestartCount, dockerHost !== ""]).toEqual([2, true]);
    await remove(shared, id);
    const types = await typesOf(shared, id);
    expect(types.at(0)).toBe(EventType.CONTAINER_CREATED);
    expect(types.filter((type) => type === EventType.CONTAINER_STARTED).length).toBeGreaterThanOrEqual(1);
    expect(types.filter((type) => type === EventType.CONTAINER_STOPPED)).toHaveLength(1);
    expect(types.slice(-2)).toEqual([EventType.CONTAINER_STOPPED, EventType.CONTAINER_REMOVED]);
  }, 25_000);

  test("one that is about to be restarted is told with its exit code, and can be removed", async () => {
    const command = ["sh", "-c", "exit 3"];
    const id = await shared.create({ command, restartPolicy: { name: "always" } });
    const fits = ({ metadata }: Event) => metadata?.containerId === id;
    const event = await eventOf(shared.client, EventType.CONTAINER_RESTARTING, fits);
    expect(event).toMatchObject({ source: "containers", data: { exit_code: "3", oom_killed: "false" } });
    await remove(shared, id);
    const types = await typesOf(shared, id);
    expect(types.slice(0, 2)).toEqual([EventType.CONTAINER_CREATED, EventType.CONTAINER_STARTED]);
    expect(types.at(-1)).toBe(EventType.CONTAINER_REMOVED);
  }, 25_000);

  test("one with remove_on_stop is waited for, told, and gone", async () => {
    const id = await shared.create({ command: ["sh", "-c", "sleep 0.2; exit 6"], removeOnStop: true });
    const waiting = shared.client.orchestrator.waitContainer({ containerId: id }, { timeoutMs: 20_000 });
    expect(await waiting).toMatchObject({ state: ContainerState.EXITED, exitCode: 6 });
    await eventOf(shared.client, EventType.CONTAINER_REMOVED, ({ metadata }) => metadata?.containerId === id);
    expect((await thrown(() => shared.client.orchestrator.getContainer({ containerId: id }))).kind).toBe(
      "not_found",
    );
  });

  test("by hand at the engine is told in order", async () => {
    const id = await shared.create();
    const { Id } = await inspect(shared, id);
    const post = (path: string) =>
      callEngine(docker.dockerHost, `/containers/${Id}/${path}`, { method: "POST" });
    await post("pause");
    await event(EventType.CONTAINER_PAUSED);
    await post("unpause");
    await event(EventType.CONTAINER_RESUMED);
    await post("rename?name=by-hand");
    await post("stop");
    await event(EventType.CONTAINER_STOPPED);
    await post("start");
    await eventOf(
      shared.client,
      EventType.CONTAINER_STARTED,
      ({ metadata, source }) => metadata?.containerId === id && source === "containers",
    );
    await callEngine(docker.dockerHost, `/containers/${Id}?force=1`, { method: "DELETE" });
    await event(EventType.CONTAINER_REMOVED);
    const types = await typesOf(shared, id);
    // A forced removal may be seen as an end and a removal, or as the removal alone.
    expect(types.filter((type, at) => !(type === EventType.CONTAINER_STOPPED && at > 4))).toEqual([
      EventType.CONTAINER_CREATED,
      EventType.CONTAINER_STARTED,
      EventType.CONTAINER_PAUSED,
      EventType.CONTAINER_RESUMED,
      EventType.CONTAINER_STOPPED,
      EventType.CONTAINER_STARTED,
      EventType.CONTAINER_REMOVED,
    ]);

    function event(type: EventType) {
      return eventOf(shared.client, type, ({ metadata }) => metadata?.containerId === id);
    }
  }, 20_000);
});

describe("a lost engine", () => {
  test("makes all unknown, ends execs so, and leaves nothing wrong behind when it is back", async () => {
    await using proxy = new EngineProxy(docker.socketPath);
    await proxy.up();
    await using own = await containerServer({ dockerHost: proxy.dockerHost });
    const { orchestrator } = own.client;
    const health = own.client.health.watch({ service: "proto.orchestrator.v1.containers" });
    const serving = async (wanted: Serving) => {
      for (;;) {
        const next = await health[Symbol.asyncIterator]().next();
        if (next.done || next.value.status === wanted) return;
      }
    };
    await serving(Serving.SERVING);
    const [id, ends] = await Promise.all([own.create(), own.create()]);
    const waiting = orchestrator.waitContainer({ containerId: ends }, { timeoutMs: 30_000 });
    const seen: ExecContainerResponse[] = [];
    const { Id: engineId } = await inspect(own, ends);
    await exec(
      own.client,
      { containerId: id, command: ["sh", "-c", "echo on; while :; do sleep 0.05; done"] },
      {
        frames: seen,
        input: async function* (heard) {
          await heard("on");
          await proxy.down();
          yield* [];
        },
      },
    );
    expect(outcome(seen).ends).toMatchObject([{ how: { case: "unknown" } }]);
    await serving(Serving.NOT_SERVING);
    const { container } = await orchestrator.getContainer({ containerId: id });
    expect(container?.state).toBe(ContainerState.UNKNOWN);
    expect(container?.stateReason).toContain(proxy.path);
    const unavailable = await thrown(() =>
      orchestrator.createContainer({ sessionId: own.sessionId, config: { image: own.image } }),
    );
    expect(unavailable.kind).toBe("unavailable");
    expect(unavailable.message).toContain(proxy.path);
    expect((await own.client.health.check({ service: "" })).status).toBe(Serving.SERVING);
    // Meanwhile one of them ends.
    await callEngine(docker.dockerHost, `/containers/${engineId}/stop`, { method: "POST" });
    await proxy.up();
    await serving(Serving.SERVING);
    expect(await waiting).toMatchObject({ state: ContainerState.EXITED, exitCode: 7 });
    const states = await Promise.all(
      [id, ends].map(
        async (containerId) => (await orchestrator.getContainer({ containerId })).container?.state,
      ),
    );
    expect(states).toEqual([ContainerState.RUNNING, ContainerState.EXITED]);
    await own.server.client.orchestrator.closeSession({ sessionId: own.sessionId }, { timeoutMs: 30_000 });
    expect(await engineContainers(docker.dockerHost, own.sessionId)).toEqual([]);
    expect(await typesOf(own)).toEqual([EventType.RUNTIME_LOST, EventType.RUNTIME_RECOVERED]);
  }, 40_000);

  test("keeps a session CLOSING, which ends by itself when it is back", async () => {
    await using proxy = new EngineProxy(docker.socketPath);
    await proxy.up();
    await using own = await containerServer({ dockerHost: proxy.dockerHost });
    const { orchestrator } = own.client;
    await own.create();
    await proxy.down();
    await eventOf(own.client, EventType.RUNTIME_LOST, () => true);
    const closing = await orchestrator.closeSession({ sessionId: own.sessionId }, { timeoutMs: 20_000 });
    expect(closing.state).toBe(SessionState.CLOSING);
    await proxy.up();
    await eventOf(own.client, EventType.SESSION_CLOSED, () => true);
    const { session } = await orchestrator.getSession({ sessionId: own.sessionId });
    expect(session).toMatchObject({ state: SessionState.CLOSED, containerIds: [] });
    expect(await engineContainers(docker.dockerHost, own.sessionId)).toEqual([]);
  }, 40_000);
});

describe("CloseSession on a real engine", () => {
  test("leaves no container and gives all file descriptors back, over and over", async () => {
    await using own = await containerServer();
    const { orchestrator } = own.client;
    const open = async () =>
      (await Array.fromAsync(new Bun.Glob("*").scan({ cwd: `/proc/${own.server.pid}/fd`, onlyFiles: false })))
        .length;
    const round = async () => {
      const { sessionId } = await orchestrator.createSession({});
      const config = { image: own.image, command: ["sleep", "1000"], labels: {} };
      const request = { sessionId, config };
      const { containerId } = await orchestrator.createContainer(request, { timeoutMs: 30_000 });
      await exec(own.client, { containerId, command: ["true"] });
      await callEngine(docker.dockerHost, `/containers/baaaht-${containerId}/kill`, { method: "POST" });
      const { state } = await orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 });
      expect(state).toBe(SessionState.CLOSED);
      expect(await engineContainers(docker.dockerHost, sessionId)).toEqual([]);
    };
    await Promise.all(Array.from({ length: 5 }, round));
    const before = await open();
    for (let wave = 0; wave < 3; wave += 1) await Promise.all(Array.from({ length: 5 }, round));
    // Connections that wait for the next call are kept, a bounded number.
    while ((await open()) > before + 17) await Bun.sleep(50); // /proc tells nobody
  }, 60_000);
});

interface Inspected {
  readonly Id: string;
  readonly RestartCount: number;
  readonly Config: Readonly<Record<string, unknown>>;
  readonly HostConfig: Readonly<Record<string, unknown>>;
}

/** What the engine itself says of a container. */
async function inspect(server: ContainerServer, containerId: string): Promise<Inspected> {
  const found = await engineContainers(docker.dockerHost, server.sessionId);
  const { Id = "" } = found.find(({ Labels }) => Labels["baaaht.container"] === containerId) ?? {};
  const answer = await callEngine(docker.dockerHost, `/containers/${Id}/json`);
  return (await answer.json()) as Inspected; // by the engine's API
}

async function remove(server: ContainerServer, containerId: string): Promise<void> {
  await server.client.orchestrator.removeContainer({ containerId, force: true }, { timeoutMs: 30_000 });
}

async function stopped(server: ContainerServer, containerId: string) {
  return await eventOf(
    server.client,
    EventType.CONTAINER_STOPPED,
    ({ metadata }) => metadata?.containerId === containerId,
  );
}

/** The types of the events so far of a container, or of those about the engine. */
async function typesOf(server: ContainerServer, containerId?: string): Promise<readonly EventType[]> {
  const filter =
    containerId === undefined
      ? { types: [EventType.RUNTIME_LOST, EventType.RUNTIME_RECOVERED] }
      : { containerId };
  const request = { fromStart: true, bookmarkIntervalNs: 50_000_000n, filter };
  const types: EventType[] = [];
  await using events = server.client.orchestrator.subscribeEvents(request, { timeoutMs: 10_000 });
  for await (const { type } of events) {
    if (type === EventType.BOOKMARK) return types;
    types.push(type);
  }
  return types;
}
