import { type ContainerPair, containerPair } from "./container-pair.ts";
import type { Figure, Row } from "./figure.ts";
import { pairedRatio, percentile, sampleOf } from "./statistics.ts";
import { timeFirstOutput } from "./warm-pair.ts";

const command = ["echo", "hello"];

/** From CreateContainer to the first output where nothing is prepared, against the engine's own create, attach and start of the same container. */
export const firstOutput: Figure = {
  name: "first-output",
  measure: async (bench) => {
    await using pair = await containerPair(bench);
    const body = await bodyLikeOurs(pair);
    const rounds = bench.length === "quick" ? 3 : 100;
    const ours: number[] = [];
    const bare: number[] = [];
    // The first round warms up and is not counted.
    for (let round = 0; round <= rounds; round += 1) {
      const measured = { ours: await timeFirstOutput(pair), bare: await timeBare(pair, body) };
      if (round === 0) continue;
      ours.push(measured.ours);
      bare.push(measured.bare);
      if (round % 10 === 0) bench.progress(`  round ${round} of ${rounds}`);
    }
    return containerRows("create to first output", { ours, bare });
  },
};

/** The rows of a time in milliseconds: its median and its 99th percentile, ours against the engine's. */
export function containerRows(
  what: string,
  { ours, bare }: { readonly ours: readonly number[]; readonly bare: readonly number[] },
): readonly Row[] {
  const p99 = { ours: percentile(ours, 99), bare: percentile(bare, 99) };
  return [
    {
      what,
      unit: "ms",
      ours: sampleOf(ours),
      bare: { what: "Docker API", sample: sampleOf(bare) },
      ratio: pairedRatio(ours, bare),
      target: { of: "ratio", is: "at most", value: 1.05 },
    },
    {
      what: `  ${what}, p99`,
      unit: "ms",
      ours: sampleOf([p99.ours]),
      bare: { what: "Docker API", sample: sampleOf([p99.bare]) },
      ratio: p99.ours / p99.bare,
      target: { of: "none" },
    },
  ];
}

/** So that the bare container is the same in all that costs the engine time: isolation, limits, log. */
async function bodyLikeOurs({
  client,
  sessionId,
  image,
  raw,
}: ContainerPair): Promise<Record<string, unknown>> {
  const { containerId } = await client.orchestrator.createContainer({
    sessionId,
    config: { image, command },
  });
  const { container } = await client.orchestrator.getContainer({ containerId });
  const body = await raw.bodyLike(container?.runtimeId ?? "");
  await client.orchestrator.removeContainer({ containerId, force: true });
  return body;
}

async function timeBare({ raw }: ContainerPair, body: Record<string, unknown>): Promise<number> {
  const begin = performance.now();
  const id = await raw.create(body);
  using output = raw.stream(`/containers/${id}/attach?stream=1&stdout=1&stderr=1`);
  await output.opened;
  await raw.start(id);
  await output.first;
  const took = performance.now() - begin;
  await raw.remove(id);
  return took;
}
