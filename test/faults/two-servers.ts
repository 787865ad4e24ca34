import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engineLeavings } from "./engine-leavings.ts";
import { checkLog, type FaultOptions, type FaultReport, reportOf } from "./fault.ts";
import { Scene } from "./scene.ts";

/** Two servers with a data folder each on one engine: neither touches what is the other's. */
export async function underTwoServers(options: FaultOptions): Promise<FaultReport> {
  const begin = performance.now();
  await using one = await Scene.open({ ...options, via: "engine" });
  await using other = await Scene.open({ ...options, via: "engine" });
  const [ours, theirs] = await Promise.all([furnished(one), furnished(other)]);
  const before = await engineLeavings(options.engine.dockerHost, other.install);
  one.notes.push(`each has ${before.length} things in the engine`);
  if (before.length < 4)
    one.violations.add(
      `a session left ${before.join(", ")}, and 2 containers, a network and a volume were due`,
    );
  await one.server.kill();
  await one.startServerAgain();
  await one.agrees();
  await one.client.orchestrator.removeContainer({ containerId: ours[0] ?? "", force: true });
  await one.emptied();
  const after = await engineLeavings(options.engine.dockerHost, other.install);
  if (!Bun.deepEquals([...before].sort(), [...after].sort()))
    one.violations.add(`the other server had ${before.join(", ")}, and has ${after.join(", ")}`);
  await other.agrees();
  const dead = other.record.events.filter(
    ({ type }) => type === EventType.CONTAINER_STOPPED || type === EventType.CONTAINER_REMOVED,
  );
  if (dead.length > 0) one.violations.add(`the other server was told of ${dead.length} deaths`);
  for (const id of theirs) {
    const shown = await other.shown(id);
    if (shown !== "running") one.violations.add(`the other server shows ${shown}`);
  }
  await other.emptied();
  for (const scene of [one, other]) checkLog(scene);
  for (const violation of other.violations.found) one.violations.add(`of the other: ${violation}`);
  return reportOf("two servers on one engine", one, begin);
}

/** Two containers in a session with a network and a volume of its own. */
async function furnished(scene: Scene): Promise<readonly string[]> {
  const sessionId = await scene.furnishedSession();
  return [await scene.furnishedContainer(sessionId), await scene.furnishedContainer(sessionId)];
}
