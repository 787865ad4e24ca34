import { callEngine } from "../../scripts/engine-api.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Fault } from "./fault.ts";
import type { Scene } from "./scene.ts";

/** What somebody does to containers with the engine's own API, behind the server's back. */
export const byHandFaults: readonly Fault[] = [
  {
    name: "containers changed by hand",
    via: "engine",
    runs: "always",
    containers: "survive",
    happen: async (scene, load) => {
      const sessionId = await scene.session();
      const [killed, removed, paused, renamed] = await Promise.all([
        scene.container(sessionId),
        scene.container(sessionId),
        scene.container(sessionId),
        scene.container(sessionId),
      ]);
      for (const id of [killed, removed]) load.expectEnd(id);
      await Promise.all([
        byHand(scene, "POST", `${pathOf(killed)}/kill`),
        byHand(scene, "DELETE", `${pathOf(removed)}?force=1`),
        byHand(scene, "POST", `${pathOf(paused)}/pause`),
        byHand(scene, "POST", `${pathOf(renamed)}/rename?name=by-hand-${renamed}`),
      ]);
      await Promise.all([
        scene.shows(killed, "exited"),
        scene.shows(removed, "gone"),
        scene.shows(paused, "paused"),
        scene.shows(renamed, "running"),
      ]);
      await told(scene, killed, EventType.CONTAINER_STOPPED);
      await told(scene, removed, EventType.CONTAINER_REMOVED);
      await told(scene, paused, EventType.CONTAINER_PAUSED);
      const stop = scene.record.events.find(
        ({ type, containerId }) => type === EventType.CONTAINER_STOPPED && containerId === killed,
      );
      if (stop?.data.exit_code !== "137")
        scene.violations.add(`a killed container is said to have exited with ${stop?.data.exit_code}`);
      // What the server does for its caller goes on as if nothing were.
      await scene.client.orchestrator.removeContainer({ containerId: renamed, force: true });
      await scene.client.orchestrator.removeContainer({ containerId: paused, force: true });
      for (const id of [renamed, paused]) load.expectEnd(id);
    },
  },
];

/** Each of these happened once, and is told once. */
async function told(scene: Scene, containerId: string, type: EventType): Promise<void> {
  await scene.event(type, (event) => event.containerId === containerId);
  await scene.listed();
  const count = scene.record.events.filter(
    (event) => event.type === type && event.containerId === containerId,
  ).length;
  if (count !== 1) scene.violations.add(`event ${type} of a container was told ${count} times`);
}

function pathOf(containerId: string): string {
  return `/containers/baaaht-${containerId}`;
}

async function byHand({ engine }: Scene, method: "POST" | "DELETE", path: string): Promise<void> {
  const answer = await callEngine(engine.dockerHost, path, { method });
  if (!answer.ok) throw new Error(`Cannot ${method} ${path}: ${answer.status} ${await answer.text()}`);
}
