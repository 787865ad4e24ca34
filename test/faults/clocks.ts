import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findFaketime } from "../../scripts/faketime.ts";
import { toStderr } from "../../scripts/progress.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { checkExecs, checkLog, type FaultOptions, type FaultReport, reportOf } from "./fault.ts";
import { endWords, OpenExec } from "./open-exec.ts";
import { Scene } from "./scene.ts";

const minuteNs = 60_000_000_000n;

/**
 * The server's clock is moved, by libfaketime and not the engine's: containers and commands go on, times that are counted
 * (a command's, a stop's grace) are not cut, and what has a time of day (a session's end) comes when the clock says so.
 */
export async function underClocks(options: FaultOptions): Promise<FaultReport> {
  const begin = performance.now();
  const folder = mkdtempSync(join(tmpdir(), "baaaht-clock-"));
  const clock = join(folder, "clock");
  const move = (seconds: number) => writeFileSync(clock, `${seconds < 0 ? "" : "+"}${seconds}\n`);
  move(0);
  const env = {
    LD_PRELOAD: await findFaketime(toStderr),
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
  try {
    await using scene = await Scene.open({ ...options, via: "engine", env });
    await moveClocks(scene, move);
    return reportOf("clocks moved", scene, begin);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function moveClocks(scene: Scene, move: (seconds: number) => void): Promise<void> {
  const { client, violations, notes } = scene;
  const long = await sessionFor(scene, 600n * minuteNs);
  const short = await sessionFor(scene, 30n * minuteNs);
  const [stays, goes] = await Promise.all([scene.container(long), scene.container(short)]);
  const command = ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 5"];
  const running = new OpenExec(client, { containerId: stays, command, timeoutNs: 5n * minuteNs });
  await running.started;
  move(3_600);
  await scene.event(EventType.SESSION_CLOSED, ({ sessionId }) => sessionId === short);
  await scene.shows(goes, "gone");
  await works(scene, long, "an hour ahead");
  move(-7_200);
  await works(scene, long, "two hours behind");
  await scene.server.kill();
  await scene.startServerAgain();
  await scene.agrees();
  await works(scene, long, "started two hours behind");
  move(0);
  await works(scene, long, "back");
  const again = new OpenExec(client, { containerId: stays, command, timeoutNs: 5n * minuteNs });
  await again.started;
  move(3_600);
  await new OpenExec(client, { containerId: stays, command: ["touch", "/tmp/go"] }).ended;
  const ends = [endWords(await running.ended), endWords(await again.ended)];
  notes.push(`commands: ${ends.join(", ")}`);
  // The server of the first one was killed under it.
  if (!/^(unknown|unavailable)/.test(ends[0] ?? "") || ends[1] !== "exited 5")
    violations.add(`commands over moved clocks ended as ${ends.join(", ")}`);
  await scene.listed();
  for (const { type, containerId } of scene.record.events) {
    const isDeath = type === EventType.CONTAINER_STOPPED || type === EventType.CONTAINER_REMOVED;
    if (isDeath && containerId === stays) violations.add("the death of a container was told that runs");
  }
  await scene.emptied();
  checkExecs(scene, 1);
  checkLog(scene);
}

async function sessionFor({ client }: Scene, maxDurationNs: bigint): Promise<string> {
  const config = { maxDurationNs, idleTimeoutNs: 600n * minuteNs, maxContainers: 10 };
  return (await client.orchestrator.createSession({ config })).sessionId;
}

/** A container's whole life, which takes no longer than it does. */
async function works(scene: Scene, sessionId: string, when: string): Promise<void> {
  const { orchestrator } = scene.client;
  const options = { timeoutMs: 20_000 };
  const containerId = await scene.container(sessionId);
  await orchestrator.stopContainer({ containerId, timeoutNs: 1_000_000_000n }, options);
  await scene.shows(containerId, "exited");
  await orchestrator.removeContainer({ containerId }, options);
  scene.notes.splice(-1, 1, `works: ${when}`);
}
