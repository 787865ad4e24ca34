import { readdirSync } from "node:fs";
import { callTimeoutMs } from "./call-record.ts";
import { engineLeavings } from "./engine-leavings.ts";
import { checkExecs, checkLog, type FaultOptions, type FaultReport, reportOf } from "./fault.ts";
import { OpenExec } from "./open-exec.ts";
import { Scene } from "./scene.ts";

/** Connections that the server keeps for its next calls to the engine, and those of this client. */
const keptConnections = 24;

/** Sessions with containers, a network and a volume, opened and closed again and again: nothing of them may stay. */
export async function underRepetition(options: FaultOptions): Promise<FaultReport> {
  const begin = performance.now();
  const [sessions, waves] = options.patience === "long" ? [20, 50] : [5, 3];
  // So many at once take an engine longer than other scenes have.
  const env = { BAAAHT_RUNTIME_OPERATION_TIMEOUT: "60s" };
  await using scene = await Scene.open({ ...options, via: "engine", env });
  const wave = () => Promise.all(Array.from({ length: sessions }, () => once(scene)));
  await wave();
  const before = openFiles(scene.server.pid);
  for (let count = 1; count < waves; count += 1) {
    await wave();
    options.progress?.(`  wave ${count + 1} of ${waves}: ${openFiles(scene.server.pid)} open files`);
  }
  await scene.agrees();
  const left = await engineLeavings(options.engine.dockerHost, scene.install);
  if (left.length > 0) scene.violations.add(`the engine has ${left.join(", ")}`);
  const after = await lowered(scene.server.pid, before + keptConnections);
  scene.notes.push(`${sessions} sessions ${waves} times; open files before ${before}, after ${after}`);
  if (after > before + keptConnections)
    scene.violations.add(`the server has ${after} open files, and had ${before} after the first wave`);
  await scene.emptied();
  checkExecs(scene, 1);
  checkLog(scene);
  return reportOf("sessions over and over", scene, begin);
}

async function once(scene: Scene): Promise<void> {
  const sessionId = await scene.furnishedSession();
  const containerId = await scene.furnishedContainer(sessionId);
  await new OpenExec(scene.client, { containerId, command: ["sh", "-c", "exit 5"] }).ended;
  const closing = scene.client.orchestrator.closeSession({ sessionId }, { timeoutMs: 2 * callTimeoutMs });
  await closing;
}

/** Waits a while until a process has no more open files than this; gives how many it has. */
async function lowered(pid: number, most: number): Promise<number> {
  const deadline = performance.now() + 10_000;
  // /proc tells nobody.
  while (openFiles(pid) > most && performance.now() < deadline) await Bun.sleep(100);
  return openFiles(pid);
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
