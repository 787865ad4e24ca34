import { beforeAll, expect, test } from "bun:test";
import { callEngine } from "../../scripts/engine-api.ts";
import {
  ContainerState,
  EventType,
  SessionState,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engine, type TestEngine } from "../engine.ts";
import { startServer } from "../server.ts";
import { cleared, engineContainers } from "./engine-containers.ts";

const SET_UP_MS = 300_000;
const ENGINE_TEST_MS = 60_000;
const CALL = { timeoutMs: ENGINE_TEST_MS };

let docker: TestEngine;
beforeAll(async () => {
  docker = await engine();
}, SET_UP_MS);

test(
  "a server that was killed finds what its policy has left: who waits, what was to be removed, and what nobody knows",
  async () => {
    const { dockerHost, image } = docker;
    let sessionId = "";
    await using _cleared = cleared(dockerHost, () => sessionId);
    await using first = await startServer({ dockerHost });
    const { orchestrator } = first.client;
    const careful = { allowNetwork: true, allowVolumeMount: true, requireApproval: true };
    ({ sessionId } = await orchestrator.createSession({ config: { policy: careful } }));
    const mounts = [{ type: 2, source: "kept", target: "/kept" }];
    const ask = async (command: string[], more: object = {}) =>
      (await orchestrator.createContainer({ sessionId, config: { image, command, ...more } }, CALL))
        .containerId;
    const ending = await ask(["sh", "-c", "until [ -e /kept/go ]; do sleep 0.05; done"], {
      mounts,
      removeOnStop: true,
    });
    const waiting = await ask(["sleep", "1000"], { mounts, name: "late" });
    const unwanted = await ask(["sleep", "1000"]);
    await orchestrator.approveContainer({ containerId: ending }, CALL);
    const { container } = await orchestrator.getContainer({ containerId: ending });
    await first.kill();

    const [network] = await networksWith(dockerHost, `baaaht.session=${sessionId}`);
    const install = network?.Labels["baaaht.install"] ?? "";
    const lost = `baaaht-${crypto.randomUUID()}`;
    const Labels = { "baaaht.install": install, "baaaht.session": crypto.randomUUID() };
    await callEngine(dockerHost, "/networks/create", {
      method: "POST",
      body: { Name: lost, CheckDuplicate: true, Labels },
    });
    await callEngine(dockerHost, "/volumes/create", { method: "POST", body: { Name: lost, Labels } });
    await callEngine(dockerHost, `/containers/${container?.runtimeId}/kill`, { method: "POST" });
    await callEngine(dockerHost, `/containers/${container?.runtimeId}/wait`, { method: "POST" });

    await using again = await startServer({ dataDir: first.dataDir, dockerHost });
    await again.logged("the container engine answers");
    const { orchestrator: after } = again.client;
    const removed = {
      fromStart: true,
      filter: { containerId: ending, types: [EventType.CONTAINER_REMOVED] },
    };
    for await (const { data } of after.subscribeEvents(removed)) {
      expect(data.reason).toContain("remove_on_stop");
      break;
    }
    expect(await networksWith(dockerHost, `baaaht.install=${install}`)).toMatchObject([
      { Name: `baaaht-${sessionId}` },
    ]);
    expect(await volumesWith(dockerHost, `baaaht.install=${install}`)).toEqual([`baaaht-${sessionId}-kept`]);
    const { containers } = await after.listContainers({ filter: { sessionId } });
    expect(containers.map(({ id, state, stateReason }) => [id, state, stateReason])).toEqual([
      [unwanted, ContainerState.CREATED, "it waits for approval"],
      [waiting, ContainerState.CREATED, "it waits for approval"],
    ]);
    await after.rejectContainer({ containerId: unwanted, reason: "no" });
    const approved = await after.approveContainer({ containerId: waiting }, CALL);
    expect(approved.container?.state).toBe(ContainerState.RUNNING);
    expect(await engineContainers(dockerHost, sessionId)).toHaveLength(1);
    const closed = await after.closeSession({ sessionId }, CALL);
    expect(closed.state).toBe(SessionState.CLOSED);
    expect(await engineContainers(dockerHost, sessionId)).toEqual([]);
    expect(await networksWith(dockerHost, `baaaht.install=${install}`)).toEqual([]);
    expect(await volumesWith(dockerHost, `baaaht.install=${install}`)).toEqual([]);
  },
  ENGINE_TEST_MS,
);

interface EngineNetwork {
  readonly Name: string;
  readonly Labels: Readonly<Record<string, string>>;
}

async function networksWith(dockerHost: string, label: string): Promise<readonly EngineNetwork[]> {
  const answer = await callEngine(dockerHost, `/networks?filters=${filters(label)}`);
  return (await answer.json()) as readonly EngineNetwork[]; // by the engine's API
}

async function volumesWith(dockerHost: string, label: string): Promise<readonly string[]> {
  const answer = await callEngine(dockerHost, `/volumes?filters=${filters(label)}`);
  const { Volumes } = (await answer.json()) as { Volumes: readonly { Name: string }[] | null }; // by the engine's API
  return (Volumes ?? []).map(({ Name }) => Name);
}

function filters(label: string): string {
  return encodeURIComponent(JSON.stringify({ label: [label] }));
}
