import { dockerCommand } from "./docker-command.ts";
import type { Figure } from "./figure.ts";
import { pairedRatio, sampleOf } from "./statistics.ts";
import { timeLastFirstOutput, type WarmServer, warmServer } from "./warm-pair.ts";

const parallel = 20;

/** Create to first output of many containers at once, against as many `docker run`; ours without and with prepared ones. */
export const againstDocker: Figure = {
  name: "against-docker",
  measure: async (bench) => {
    await using cold = await warmServer(bench, 0);
    await using warm = await warmServer(bench, parallel);
    const rounds = bench.length === "quick" ? 1 : 5;
    const times = { cold: [] as number[], warm: [] as number[], docker: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      await warm.untilPrepared(parallel);
      times.warm.push(await timeLastFirstOutput(warm, parallel));
      await warm.untilPrepared(parallel);
      times.cold.push(await timeLastFirstOutput(cold, parallel));
      times.docker.push(
        Math.max(...(await Promise.all(Array.from({ length: parallel }, () => dockerRun(warm))))),
      );
      bench.progress(`  round ${round + 1} of ${rounds}`);
    }
    const bare = { what: "docker run", sample: sampleOf(times.docker) };
    return (["cold", "warm"] as const).map((way) => ({
      what: `${parallel} at once to the last first output, ${way === "cold" ? "none prepared" : "prepared"}`,
      unit: "ms",
      ours: sampleOf(times[way]),
      bare,
      ratio: pairedRatio(times[way], times.docker),
      target: { of: "ratio", is: "below", value: 1 } as const,
    }));
  },
};

/** With the isolation that ours have; the client tells nobody when the first output came, so its end is what is timed. */
async function dockerRun({ dockerHost, image }: WarmServer): Promise<number> {
  const like = ["--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
  const limits = ["--memory", "512m", "--memory-swap", "512m", "--cpus", "1", "--pids-limit", "256"];
  return (await dockerCommand(dockerHost, ["run", "--rm", ...like, ...limits, image, "echo", "hello"])).ms;
}
