import { join } from "node:path";
import { callEngine } from "../../scripts/engine-api.ts";
import { runCommand } from "../../scripts/run-command.ts";
import { Failure } from "../../src/failure.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { allContainers } from "../crash/listings.ts";
import { CallRecord, callTimeoutMs } from "./call-record.ts";
import { engineLeavings } from "./engine-leavings.ts";
import { checkLog, type FaultOptions, type FaultReport, reportOf } from "./fault.ts";
import { Scene } from "./scene.ts";

/** A container is removed from each state that there is, also while the engine is away or refuses. */
export async function underRemovals(options: FaultOptions): Promise<FaultReport> {
  const begin = performance.now();
  await using scene = await Scene.open({ ...options, via: "proxy" });
  const sessionId = await scene.session();
  const calls = new CallRecord(scene);
  const removals = { scene, sessionId, calls };
  for (const [state, remove] of Object.entries(states)) {
    scene.violations.where = state;
    await remove(removals);
    scene.notes.push(`removed while ${state}`);
    options.progress?.(`  ${scene.notes.at(-1)}`);
  }
  scene.violations.where = "at the end";
  await scene.agrees();
  await scene.emptied();
  checkLog(scene);
  scene.notes.push(calls.words);
  return reportOf("removed from any state", scene, begin);
}

interface Removals {
  readonly scene: Scene;
  readonly sessionId: string;
  readonly calls: CallRecord;
}

const states: Readonly<Record<string, (removals: Removals) => Promise<void>>> = {
  "being created": beingCreated,
  running: async (removals) => await removed(removals, await removals.scene.container(removals.sessionId)),
  paused: async (removals) => {
    const { scene, sessionId } = removals;
    const id = await scene.container(sessionId);
    await byHand(scene, `${pathOf(id)}/pause`);
    await scene.shows(id, "paused");
    await removed(removals, id);
  },
  restarting: async (removals) => {
    const { client, image } = removals.scene;
    const config = { image, command: ["sh", "-c", "exit 3"], restartPolicy: { name: "always" } };
    const request = { sessionId: removals.sessionId, config };
    const { containerId } = await client.orchestrator.createContainer(request, { timeoutMs: callTimeoutMs });
    const fits = (event: { readonly containerId: string }) => event.containerId === containerId;
    await removals.scene.event(EventType.CONTAINER_RESTARTING, fits);
    await removed(removals, containerId);
  },
  exited: async (removals) => {
    const { scene, sessionId } = removals;
    const id = await scene.container(sessionId, ["sh", "-c", "exit 3"]);
    await scene.shows(id, "exited");
    await removed(removals, id);
  },
  dead,
  "removed by another": async (removals) => {
    const id = await removals.scene.container(removals.sessionId);
    const other = callEngine(removals.scene.engine.dockerHost, `${pathOf(id)}?force=1`, { method: "DELETE" });
    await removed(removals, id, "also gone");
    await other;
  },
  "the engine is away": async (removals) => {
    const { scene, sessionId } = removals;
    const [first, second] = [await scene.container(sessionId), await scene.container(sessionId)];
    await scene.proxy.down();
    await scene.shows(first, "unknown");
    await refused(removals, first);
    await abandoned(removals, first);
    const request = { sessionId, abandon: true };
    const { state } = await scene.client.orchestrator.closeSession(request, { timeoutMs: callTimeoutMs });
    if (state !== closed) scene.violations.add(`a session that was abandoned is in state ${state}`);
    await scene.proxy.up();
    await scene.event(EventType.RUNTIME_RECOVERED);
    await gone(scene, [first, second]);
  },
  "the engine refuses": async (removals) => {
    const { scene } = removals;
    const sessionId = await scene.session();
    const id = await scene.container(sessionId);
    scene.proxy.rules = {
      onRequest: ({ method }) =>
        method === "DELETE"
          ? { kind: "answer", status: 500, body: { message: "the disk is on fire" } }
          : { kind: "pass" },
    };
    await refused(removals, id);
    await abandoned(removals, id);
    scene.proxy.rules = {};
    await gone(scene, [id]);
  },
};

/** As the API has it. */
const closed = 5;

/** Its creation is held in the engine's start of it. */
async function beingCreated({ scene, sessionId, calls }: Removals): Promise<void> {
  const held = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  scene.proxy.rules = {
    onRequest: async ({ route }) => {
      if (route === "/containers/{}/start") {
        asked.resolve();
        await held.promise;
      }
      return { kind: "pass" };
    },
  };
  const config = { image: scene.image, command: ["sleep", "100000"] };
  const { orchestrator } = scene.client;
  const creating = calls.made(
    "CreateContainer",
    orchestrator.createContainer({ sessionId, config }, { timeoutMs: callTimeoutMs }),
  );
  await asked.promise;
  const [row] = await allContainers(scene.client);
  await removed({ scene, sessionId, calls }, row?.id ?? "", "also gone");
  held.resolve();
  scene.proxy.rules = {};
  if ((await creating) !== undefined)
    scene.violations.add("a creation succeeded whose container was removed");
}

/** A container whose folder can't be deleted: the engine has it as dead from the first attempt on. */
async function dead(removals: Removals): Promise<void> {
  const { scene, sessionId } = removals;
  const id = await scene.container(sessionId);
  const dataRoot = scene.engine.own?.dataRoot;
  const chattr = async (mode: string) => {
    const found = await callEngine(scene.engine.dockerHost, `${pathOf(id)}/json`);
    const { Id } = (await found.json()) as { readonly Id: string }; // by the engine's API
    const file = join(dataRoot ?? "", "containers", Id, "hostname");
    return (await runCommand(["chattr", mode, file])).exitCode === 0;
  };
  if (dataRoot === undefined || !(await chattr("+i"))) {
    scene.notes.push("dead was left out: no file of this engine can be made immutable");
    await removed(removals, id);
    return;
  }
  try {
    await refused(removals, id);
    await scene.shows(id, "exited");
  } finally {
    await chattr("-i");
  }
  await removed(removals, id);
}

/** A forced removal succeeds; `also gone`: or somebody else has done it before. */
async function removed({ scene, calls }: Removals, containerId: string, how = "by us"): Promise<void> {
  const request = { containerId, force: true };
  const answer = await calls.made(
    "RemoveContainer",
    scene.client.orchestrator.removeContainer(request, { timeoutMs: callTimeoutMs }),
  );
  if (answer === undefined && how === "by us") scene.violations.add("a forced removal was refused");
  await gone(scene, [containerId]);
}

/** A forced removal is refused in words. */
async function refused({ scene }: Removals, containerId: string): Promise<void> {
  const request = { containerId, force: true };
  try {
    await scene.client.orchestrator.removeContainer(request, { timeoutMs: callTimeoutMs });
    scene.violations.add("a forced removal succeeded that the engine has not done");
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.kind !== "unavailable")
      scene.violations.add(`a forced removal ended as ${error.kind}: ${error.message}`);
  }
}

/** It is let go of, and shown no more. */
async function abandoned({ scene, calls }: Removals, containerId: string): Promise<void> {
  const request = { containerId, abandon: true };
  const call = scene.client.orchestrator.removeContainer(request, { timeoutMs: callTimeoutMs });
  if ((await calls.made("RemoveContainer", call)) === undefined)
    scene.violations.add("a container could not be abandoned");
  if ((await scene.shown(containerId)) !== "gone")
    scene.violations.add("an abandoned container is still shown");
}

/** In time, neither the server nor the engine has any of them. */
async function gone(scene: Scene, ids: readonly string[]): Promise<void> {
  const { dockerHost } = scene.engine;
  const deadline = performance.now() + 10_000;
  for (;;) {
    const left = (await engineLeavings(dockerHost, scene.install)).filter((name) =>
      ids.some((id) => name.includes(id)),
    );
    if (left.length === 0) break;
    if (performance.now() > deadline) {
      scene.violations.add(`the engine still has ${left.join(", ")}`);
      break;
    }
    await Bun.sleep(50); // the engine is outside of both: there is nothing to await
  }
  for (const id of ids) {
    if ((await scene.shown(id)) !== "gone")
      scene.violations.add("a container that was removed is still shown");
  }
}

function pathOf(containerId: string): string {
  return `/containers/baaaht-${containerId}`;
}

async function byHand({ engine }: Scene, path: string): Promise<void> {
  const answer = await callEngine(engine.dockerHost, path, { method: "POST" });
  if (!answer.ok) throw new Error(`Cannot POST ${path}: ${answer.status} ${await answer.text()}`);
}
