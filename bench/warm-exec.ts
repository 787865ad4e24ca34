import { dockerCommand } from "./docker-command.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { pairedRatio, percentile, sampleOf } from "./statistics.ts";
import { type WarmServer, warmServer } from "./warm-pair.ts";

const megabytes = 10;

/** Commands in a container whose init runs: `true` to its end frame, and much output, against `docker exec`. */
export const warmExec: Figure = {
  name: "warm-exec",
  measure: async (bench) => {
    await using server = await warmServer(bench, 0);
    const { client, sessionId, image } = server;
    const { containerId } = await client.orchestrator.createContainer({
      sessionId,
      config: { image, command: ["sleep", "3600"], resourceLimits: { nanoCpu: 2_000_000_000n } },
    });
    const { container } = await client.orchestrator.getContainer({ containerId });
    // The engine runs the first ones, until the init does.
    for (let round = 0; round < 20; round += 1) await timeExec(server, containerId, ["true"]);
    const short = await timesOf(server, containerId, bench.length === "quick" ? 20 : 300);
    const much = await throughput(bench, server, { containerId, runtimeId: container?.runtimeId ?? "" });
    return [...shortRows(short), ...much];
  },
};

async function timesOf(server: WarmServer, containerId: string, rounds: number): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1)
    times.push((await timeExec(server, containerId, ["true"])).ms);
  return times;
}

async function throughput(
  bench: Bench,
  server: WarmServer,
  of: { readonly containerId: string; readonly runtimeId: string },
): Promise<readonly Row[]> {
  const bytes = megabytes * 1_000_000;
  const command = ["head", "-c", String(bytes), "/dev/zero"];
  const ours: number[] = [];
  const bare: number[] = [];
  const rounds = bench.length === "quick" ? 2 : 20;
  for (let round = 0; round <= rounds; round += 1) {
    const done = await timeExec(server, of.containerId, command);
    const docker = await dockerCommand(server.dockerHost, ["exec", of.runtimeId, ...command]);
    for (const { bytes: got } of [done, docker])
      if (got !== bytes) throw new Error(`${got} bytes came, of ${bytes}`);
    if (round === 0) continue;
    ours.push(megabytes / (done.ms / 1000));
    bare.push(megabytes / (docker.ms / 1000));
  }
  return [
    {
      what: `exec with ${megabytes} MB of output`,
      unit: "MB/s",
      ours: sampleOf(ours),
      bare: { what: "docker exec", sample: sampleOf(bare) },
      ratio: pairedRatio(ours, bare),
      target: { of: "ratio", is: "at least", value: 0.9 },
    },
  ];
}

function shortRows(times: readonly number[]): readonly Row[] {
  return [
    {
      what: "exec to exit code, by the init, p50",
      unit: "ms",
      ours: sampleOf(times),
      target: { of: "ours", is: "at most", value: 8 },
    },
    {
      what: "  exec to exit code, by the init, p99",
      unit: "ms",
      ours: sampleOf([percentile(times, 99)]),
      target: { of: "none" },
    },
  ];
}

async function timeExec(
  { client }: WarmServer,
  containerId: string,
  command: readonly string[],
): Promise<{ readonly ms: number; readonly bytes: number }> {
  async function* start() {
    yield { payload: { case: "start" as const, value: { containerId, command: [...command] } } };
  }
  const begin = performance.now();
  let bytes = 0;
  await using frames = client.orchestrator.execContainer(start());
  for await (const { payload } of frames) {
    if (payload.case === "stdout") bytes += payload.value.length;
    if (payload.case !== "end") continue;
    const { how } = payload.value;
    if (how.case !== "exited" || how.value.code !== 0)
      throw new Error(`the command ended otherwise: ${how.case}`);
    return { ms: performance.now() - begin, bytes };
  }
  throw new Error("the command's stream ended without an end frame");
}
