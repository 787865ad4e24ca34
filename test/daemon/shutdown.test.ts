import { beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { EventType, OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engine, type TestEngine } from "../engine.ts";
import { openServerStream } from "../rpc/test-server.ts";
import { startServer } from "../server.ts";
import { cleared, engineContainers } from "./engine-containers.ts";
import { holdEngine } from "./held-engine.ts";

const SET_UP_MS = 300_000;
const ENGINE_TEST_MS = 60_000;

describe("SIGTERM", () => {
  test("ends the server with 0 and takes its socket away", async () => {
    await using server = await startServer();
    expect(await server.stop()).toBe(0);
    expect(existsSync(server.socketPath)).toBe(false);
    expect(
      server
        .logs()
        .trim()
        .split("\n")
        .slice(-2)
        .map((line) => JSON.parse(line).message),
    ).toEqual(["stopping", "stopped"]);
    expect(server.logs()).not.toContain('"level":"error"');
  });

  test("tells open streams UNAVAILABLE with the reason SHUTTING_DOWN, and then ends", async () => {
    await using server = await startServer();
    const { orchestrator, health } = server.client;
    const streams = [
      ...Array.from({ length: 50 }, () => orchestrator.subscribeEvents({})),
      ...Array.from({ length: 5 }, () => health.watch({ service: "" })),
    ];
    await Promise.all(streams.map((stream) => stream.started()));
    const ends = streams.map((stream) =>
      thrown(async () => {
        for await (const _ of stream);
      }),
    );
    const exitCode = server.stop();
    for (const end of await Promise.all(ends)) {
      expect(end).toMatchObject({ kind: "unavailable", details: { reason: "SHUTTING_DOWN" } });
    }
    expect(await exitCode).toBe(0);
  });

  test("does not wait longer than the shutdown time-out for a client that never reads and a connection that says nothing", async () => {
    await using server = await startServer({ flags: ["--shutdown-timeout", "300ms"] });
    const silent = connect(server.socketPath);
    silent.on("error", () => {});
    // Events carry the labels of their session: a few of these are more than a connection takes unread.
    const labels = Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`l${at}`, "x".repeat(1_000)]));
    for (let made = 0; made < 20; made += 1) {
      await server.client.orchestrator.createSession({ metadata: { labels } });
    }
    const client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
    const unread = openServerStream(client, OrchestratorService.method.subscribeEvents, { fromStart: true });
    await once(unread, "metadata");
    // The hard end, which comes to a server that goes on waiting, has another code, and says that it came.
    expect(await server.stop()).toBe(0);
    expect(server.logs()).not.toContain("stopping takes too long");
    silent.destroy();
    client.close();
  });

  test("is the last event of the log, and the next start the first after it", async () => {
    await using server = await startServer();
    const { cursor } = await server.client.orchestrator.listSessions({});
    expect(await server.stop()).toBe(0);
    await using again = await startServer({ dataDir: server.dataDir });
    const types: EventType[] = [];
    for await (const { type } of again.client.orchestrator.subscribeEvents({ resumeAfter: cursor })) {
      if (type === EventType.SYSTEM_SHUTDOWN || type === EventType.SYSTEM_STARTUP) types.push(type);
      if (type === EventType.SYSTEM_STARTUP) break;
    }
    expect(types).toEqual([EventType.SYSTEM_SHUTDOWN, EventType.SYSTEM_STARTUP]);
  });
});

describe("SIGTERM with an engine", () => {
  let docker: TestEngine;
  beforeAll(async () => {
    docker = await engine();
  }, SET_UP_MS);

  test(
    "ends a container's creation, and nothing is left of it in the engine or in the session",
    async () => {
      const { dockerHost, image, socketPath } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      await using held = await holdEngine(socketPath, /^POST \S*\/start/);
      await using server = await startServer({ dockerHost: held.dockerHost });
      ({ sessionId } = await server.client.orchestrator.createSession({}));
      const config = { image, command: ["sleep", "1000"] };
      const creation = thrown(() => server.client.orchestrator.createContainer({ sessionId, config }));
      await held.held;
      expect(await engineContainers(dockerHost, sessionId)).toHaveLength(1);
      expect(await server.stop()).toBe(0);
      expect((await creation).kind).toBe("unavailable");
      expect(await engineContainers(dockerHost, sessionId)).toEqual([]);
      await using again = await startServer({ dataDir: server.dataDir, dockerHost });
      const { session } = await again.client.orchestrator.getSession({ sessionId });
      expect(session?.containerIds).toEqual([]);
    },
    ENGINE_TEST_MS,
  );

  test(
    "ends an exec, to its caller and in the log, and leaves its container running",
    async () => {
      const { dockerHost, image } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      await using server = await startServer({ dockerHost });
      const { orchestrator } = server.client;
      ({ sessionId } = await orchestrator.createSession({}));
      const config = { image, command: ["sleep", "1000"] };
      const { containerId } = await orchestrator.createContainer({ sessionId, config });
      const { cursor } = await orchestrator.listContainers({});
      const stdinLeftOpen = Promise.withResolvers<void>();
      const exec = orchestrator.execContainer(
        (async function* () {
          yield {
            payload: { case: "start" as const, value: { containerId, command: ["cat"], stdin: true } },
          };
          await stdinLeftOpen.promise;
        })(),
      );
      const frames: unknown[] = [];
      for await (const { payload } of exec) {
        frames.push(payload.case === "end" ? payload.value.how.case : payload.case);
        if (payload.case === "started") void server.stop();
      }
      expect(frames).toEqual(["started", "cancelled"]);
      expect(await server.exited).toBe(0);
      stdinLeftOpen.resolve();
      expect((await engineContainers(dockerHost, sessionId)).map(({ State }) => State)).toEqual(["running"]);
      await using again = await startServer({ dataDir: server.dataDir, dockerHost });
      const types = [EventType.EXEC_STARTED, EventType.EXEC_FINISHED];
      const seen: EventType[] = [];
      const events = again.client.orchestrator.subscribeEvents({ resumeAfter: cursor, filter: { types } });
      for await (const { type } of events) {
        seen.push(type);
        if (seen.length === 2) break;
      }
      expect(seen).toEqual(types);
    },
    ENGINE_TEST_MS,
  );
});
