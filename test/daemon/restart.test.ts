import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { callEngine } from "../../scripts/engine-api.ts";
import type { Client } from "../../src/client/client.ts";
import { watch } from "../../src/client/watch.ts";
import {
  ContainerState,
  type Event,
  EventType,
  SessionState,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { killDuringStart } from "../crash/killed-start.ts";
import { engine, type TestEngine } from "../engine.ts";
import { refusedStart, startServer } from "../server.ts";
import { cleared, engineContainers } from "./engine-containers.ts";
import { holdEngine } from "./held-engine.ts";

const folder = mkdtempSync(join(tmpdir(), "baaaht-restart-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SET_UP_MS = 300_000;
const ENGINE_TEST_MS = 60_000;

describe("a second server", () => {
  test("on the same data folder is refused with the first one's process id, and the first goes on", async () => {
    await using first = await startServer();
    const { exitCode, stderr } = await refusedStart({ dataDir: first.dataDir });
    expect(exitCode).toBe(19);
    expect(stderr).toContain(`process ${first.pid} serves from it`);
    await expectServing(first.client);
    expect(await first.stop()).toBe(0);
  });

  test("on the same socket is refused, and the first goes on", async () => {
    await using first = await startServer();
    const { exitCode, stderr } = await refusedStart({ socketPath: first.socketPath });
    expect(exitCode).toBe(19);
    expect(stderr).toContain("another baaaht serves on it");
    await expectServing(first.client);
    await expectServing(first.connect());
  });

  test("that was refused leaves the first one's socket and lock alone", async () => {
    await using first = await startServer();
    const { ino } = lstatSync(first.socketPath);
    await refusedStart({ dataDir: first.dataDir, socketPath: first.socketPath });
    expect(lstatSync(first.socketPath).ino).toBe(ino);
    expect(readFileSync(join(first.dataDir, "lock"), "utf8").trim()).toBe(String(first.pid));
  });
});

describe("what lies at the socket's path", () => {
  test("is replaced when it is the socket of a server that was killed", async () => {
    await using first = await startServer();
    const { sessionId } = await first.client.orchestrator.createSession({});
    await first.kill();
    expect(lstatSync(first.socketPath).isSocket()).toBe(true);
    await using again = await startServer({ dataDir: first.dataDir, socketPath: first.socketPath });
    const { session } = await again.client.orchestrator.getSession({ sessionId });
    expect(session?.id).toBe(sessionId);
    expect(await again.stop()).toBe(0);
    expect(existsSync(first.socketPath)).toBe(false);
  });

  const things: Readonly<Record<string, (path: string) => void>> = {
    "a file": (path) => writeFileSync(path, "precious"),
    "a folder": (path) => mkdirSync(path),
    "a symbolic link": (path) => symlinkSync("/nowhere", path),
  };
  test.each(Object.keys(things))("stays when it is %s, and the server is refused", async (kind) => {
    const socketPath = join(folder, kind.replaceAll(" ", "-"));
    things[kind]?.(socketPath);
    const { ino } = lstatSync(socketPath);
    const { exitCode, stderr } = await refusedStart({ socketPath });
    expect(exitCode).toBe(19);
    expect(stderr).toContain(`there is ${kind} of this name, which is not a socket`);
    expect(lstatSync(socketPath).ino).toBe(ino);
  });
});

describe("a server that was killed", () => {
  test("starts again wherever its very first start was killed", async () => {
    const dataDir = join(folder, "first");
    const socketPath = join(folder, "first.sock");
    const dockerHost = "unix:///nowhere";
    for (let afterMs = 60; afterMs <= 380; afterMs += 80) {
      rmSync(dataDir, { recursive: true, force: true });
      await killDuringStart({ dataDir, socketPath, dockerHost }, afterMs);
      await using again = await startServer({ dataDir, socketPath });
      await expectServing(again.client);
    }
  }, 60_000);

  test("goes on with the log where it was: cursors stay good", async () => {
    await using first = await startServer();
    const { cursor } = await first.client.orchestrator.listSessions({});
    const { sessionId } = await first.client.orchestrator.createSession({});
    await first.kill();
    await using again = await startServer({ dataDir: first.dataDir, socketPath: first.socketPath });
    await again.client.orchestrator.closeSession({ sessionId });
    const events = await eventsUntil(again.client, { resumeAfter: cursor, last: EventType.SESSION_CLOSED });
    const ofSession = events.filter(({ metadata }) => metadata?.sessionId === sessionId);
    expect(ofSession.map(({ type }) => type)).toEqual([EventType.SESSION_CREATED, EventType.SESSION_CLOSED]);
    expect(events.filter(({ type }) => type === EventType.SYSTEM_STARTUP)).toHaveLength(1);
  });
});

describe("containers", () => {
  let docker: TestEngine;
  beforeAll(async () => {
    docker = await engine();
  }, SET_UP_MS);

  test(
    "outlive the server, and are taken up with what happened to them meanwhile",
    async () => {
      const { dockerHost, image } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      await using first = await startServer({ dockerHost });
      ({ sessionId } = await first.client.orchestrator.createSession({}));
      const command = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"];
      const [running = "", stopped = "", removed = ""] = await Promise.all(
        ["running", "stopped", "removed"].map(async () => {
          const config = { image, command };
          return (await first.client.orchestrator.createContainer({ sessionId, config })).containerId;
        }),
      );
      const { cursor } = await first.client.orchestrator.listContainers({});
      expect(await first.stop()).toBe(0);

      const inEngine = new Map(
        (await engineContainers(dockerHost, sessionId)).map((each) => [
          each.Labels["baaaht.container"],
          each,
        ]),
      );
      expect([...inEngine.values()].map(({ State }) => State)).toEqual(["running", "running", "running"]);
      await callEngine(dockerHost, `/containers/${inEngine.get(stopped)?.Id}/stop?t=20`, { method: "POST" });
      await callEngine(dockerHost, `/containers/${inEngine.get(removed)?.Id}?force=1`, { method: "DELETE" });

      await using again = await startServer({ dataDir: first.dataDir, dockerHost });
      const events = await eventsUntil(again.client, {
        resumeAfter: cursor,
        last: EventType.CONTAINER_REMOVED,
        also: EventType.CONTAINER_STOPPED,
      });
      const stop = events.find(({ type }) => type === EventType.CONTAINER_STOPPED);
      expect(stop).toMatchObject({
        source: "containers",
        metadata: { containerId: stopped },
        data: { exit_code: "7" },
      });
      const removal = events.find(({ type }) => type === EventType.CONTAINER_REMOVED);
      expect(removal).toMatchObject({ source: "containers", metadata: { containerId: removed } });
      const { orchestrator } = again.client;
      expect(await orchestrator.waitContainer({ containerId: stopped })).toMatchObject({ exitCode: 7 });
      expect(await thrown(() => orchestrator.getContainer({ containerId: removed }))).toMatchObject({
        kind: "not_found",
      });
      const { session } = await orchestrator.getSession({ sessionId });
      expect(session?.containerIds.toSorted()).toEqual([running, stopped].toSorted());
      await orchestrator.closeSession({ sessionId }, { timeoutMs: ENGINE_TEST_MS });
      expect(await engineContainers(dockerHost, sessionId)).toEqual([]);
    },
    ENGINE_TEST_MS,
  );

  test(
    "half made when the server was killed are removed at the next start, and the same request makes one anew",
    async () => {
      const { dockerHost, image, socketPath } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      await using held = await holdEngine(socketPath, /^POST \S*\/start/);
      await using first = await startServer({ dockerHost: held.dockerHost });
      ({ sessionId } = await first.client.orchestrator.createSession({}));
      const request = { sessionId, config: { image, command: ["sleep", "1000"] }, idempotencyKey: "once" };
      const cut = first.client.orchestrator.createContainer(request, { signal: AbortSignal.timeout(20_000) });
      cut.catch(() => {});
      await held.held;
      expect((await engineContainers(dockerHost, sessionId)).map(({ State }) => State)).toEqual(["created"]);
      await first.kill();

      await using again = await startServer({ dataDir: first.dataDir, dockerHost });
      const { containerId } = await again.client.orchestrator.createContainer(request);
      expect(
        (await engineContainers(dockerHost, sessionId)).map(({ State, Labels }) => [
          State,
          Labels["baaaht.container"],
        ]),
      ).toEqual([["running", containerId]]);
      const { session } = await again.client.orchestrator.getSession({ sessionId });
      expect(session?.containerIds).toEqual([containerId]);
    },
    ENGINE_TEST_MS,
  );

  test(
    "keep running when the server is killed under a command, whose end the log then calls unknown",
    async () => {
      const { dockerHost, image } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      await using first = await startServer({ dockerHost });
      const { orchestrator } = first.client;
      ({ sessionId } = await orchestrator.createSession({}));
      const config = { image, command: ["sleep", "1000"] };
      const { containerId } = await orchestrator.createContainer({ sessionId, config });
      const { cursor } = await orchestrator.listContainers({});
      const start = { case: "start" as const, value: { containerId, command: ["sleep", "1000"] } };
      const exec = orchestrator.execContainer(
        (async function* () {
          yield { payload: start };
        })(),
      );
      const failed = await thrown(async () => {
        for await (const { payload } of exec) if (payload.case === "started") await first.kill();
      });
      expect(failed.kind).toBe("unavailable");
      await using again = await startServer({ dataDir: first.dataDir, dockerHost });
      await again.logged("the container engine answers"); // before that its containers are unknown
      const events = await eventsUntil(again.client, { resumeAfter: cursor, last: EventType.EXEC_FINISHED });
      const ends = events.filter(({ type }) => type === EventType.EXEC_FINISHED);
      expect(ends.map(({ source, data }) => [source, data.end])).toEqual([["containers", "unknown"]]);
      const { container } = await again.client.orchestrator.getContainer({ containerId });
      expect(container?.state).toBe(ContainerState.RUNNING);
    },
    ENGINE_TEST_MS,
  );

  test(
    "of a session whose closing was cut off are removed at the next start, and the session is closed",
    async () => {
      const { dockerHost, image, socketPath } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      await using held = await holdEngine(socketPath, /^(POST \S*\/(stop|kill)|DELETE )/);
      await using first = await startServer({ dockerHost: held.dockerHost });
      ({ sessionId } = await first.client.orchestrator.createSession({}));
      await first.client.orchestrator.createContainer({
        sessionId,
        config: { image, command: ["sleep", "1000"] },
      });
      first.client.orchestrator.closeSession({ sessionId, reason: "enough" }).catch(() => {});
      await held.held;
      const { cursor } = await first.client.orchestrator.listSessions({});
      await first.kill();

      await using again = await startServer({ dataDir: first.dataDir, dockerHost });
      await eventsUntil(again.client, { resumeAfter: cursor, last: EventType.SESSION_CLOSED });
      const { session } = await again.client.orchestrator.getSession({ sessionId });
      expect(session).toMatchObject({ state: SessionState.CLOSED, closeReason: "enough", containerIds: [] });
      expect(await engineContainers(dockerHost, sessionId)).toEqual([]);
    },
    ENGINE_TEST_MS,
  );
});

async function expectServing(client: Client): Promise<void> {
  const { sessionId } = await client.orchestrator.createSession({});
  expect((await client.orchestrator.getSession({ sessionId })).session?.id).toBe(sessionId);
}

/** The events after a cursor until both types were there. */
async function eventsUntil(
  client: Client,
  {
    resumeAfter,
    last,
    also,
  }: { readonly resumeAfter: string; readonly last: EventType; readonly also?: EventType },
): Promise<readonly Event[]> {
  const events: Event[] = [];
  for await (const event of watch(client, { resumeAfter, signal: AbortSignal.timeout(ENGINE_TEST_MS) })) {
    events.push(event);
    const types = new Set(events.map(({ type }) => type));
    if (types.has(last) && types.has(also ?? last)) break;
  }
  return events;
}
