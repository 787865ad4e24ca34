import { type ContainerPair, containerPair } from "./container-pair.ts";
import type { Figure } from "./figure.ts";
import { containerRows } from "./first-output.ts";

const command = ["true"];

/** A command in a running container, from its start to its exit code, against the engine's own exec. */
export const exec: Figure = {
  name: "exec",
  measure: async (bench) => {
    await using pair = await containerPair(bench);
    const { raw } = pair;
    const { containerId, runtimeId } = await pair.sleeping();
    const rounds = bench.length === "quick" ? 3 : 200;
    const ours: number[] = [];
    const bare: number[] = [];
    // The first round warms up and is not counted.
    for (let round = 0; round <= rounds; round += 1) {
      const measured = { ours: await timeOurs(pair, containerId), bare: await timeBare(raw, runtimeId) };
      if (round === 0) continue;
      ours.push(measured.ours);
      bare.push(measured.bare);
      if (round % 50 === 0) bench.progress(`  round ${round} of ${rounds}`);
    }
    return containerRows("exec to exit code", { ours, bare });
  },
};

async function timeOurs({ client }: ContainerPair, containerId: string): Promise<number> {
  const begin = performance.now();
  await using frames = client.orchestrator.execContainer(startOf(containerId));
  for await (const { payload } of frames) {
    if (payload.case !== "end") continue;
    const { how } = payload.value;
    if (how.case !== "exited" || how.value.code !== 0)
      throw new Error(`the command ended otherwise: ${how.case}`);
    return performance.now() - begin;
  }
  throw new Error("the command's stream ended without an end frame");
}

async function timeBare(raw: ContainerPair["raw"], containerId: string): Promise<number> {
  const begin = performance.now();
  const id = await raw.createExec(containerId, command);
  using output = raw.stream(`/exec/${id}/start`, { Detach: false, Tty: false });
  await output.ended;
  const code = await raw.execExitCode(id);
  const took = performance.now() - begin;
  if (code !== 0) throw new Error(`the command ended with ${code}`);
  return took;
}

async function* startOf(containerId: string) {
  yield { payload: { case: "start" as const, value: { containerId, command } } };
}
