import { pack } from "tar-stream";
import { type ContainerPair, containerPair } from "./container-pair.ts";
import type { Figure, Row } from "./figure.ts";
import { sampleOf } from "./statistics.ts";

const pieceBytes = 1024 * 1024;

/** A large file into a container and out of it as a tar archive, against the engine's own API. */
export const copy: Figure = {
  name: "copy",
  measure: async (bench) => {
    await using pair = await containerPair(bench);
    const { raw } = pair;
    const { containerId, runtimeId } = await pair.sleeping();
    const mebibytes = bench.length === "quick" ? 16 : 1024;
    const rounds = bench.length === "quick" ? 1 : 5;
    const rates = {
      oursIn: [] as number[],
      bareIn: [] as number[],
      oursOut: [] as number[],
      bareOut: [] as number[],
    };
    for (let round = 0; round < rounds; round += 1) {
      const timed = async (act: () => Promise<unknown>): Promise<number> => {
        const begin = performance.now();
        await act();
        return (mebibytes / (performance.now() - begin)) * 1000;
      };
      rates.oursIn.push(await timed(() => putOurs(pair, containerId, mebibytes)));
      rates.bareIn.push(await timed(() => raw.putArchive(runtimeId, "/tmp", archiveOf(mebibytes))));
      rates.oursOut.push(await timed(() => getOurs(pair, containerId)));
      rates.bareOut.push(await timed(() => raw.getArchive(runtimeId, "/tmp/file")));
      bench.progress(`  round ${round + 1} of ${rounds}`);
    }
    return [
      rowOf(`copy of ${mebibytes} MiB into a container`, { ours: rates.oursIn, bare: rates.bareIn }),
      rowOf(`copy of ${mebibytes} MiB out of a container`, { ours: rates.oursOut, bare: rates.bareOut }),
    ];
  },
};

function rowOf(
  what: string,
  rates: { readonly ours: readonly number[]; readonly bare: readonly number[] },
): Row {
  const [ours, bare] = [sampleOf(rates.ours), sampleOf(rates.bare)];
  return {
    what,
    unit: "MiB/s",
    ours,
    bare: { what: "the engine's API", sample: bare },
    ratio: ours.median / bare.median,
    target: { of: "ratio", is: "at least", value: 0.9 },
  };
}

async function putOurs({ client }: ContainerPair, containerId: string, mebibytes: number): Promise<void> {
  async function* frames() {
    yield { payload: { case: "start" as const, value: { containerId, path: "/tmp" } } };
    for await (const data of archiveOf(mebibytes)) yield { payload: { case: "data" as const, value: data } };
  }
  await client.orchestrator.copyToContainer(frames());
}

async function getOurs({ client }: ContainerPair, containerId: string): Promise<void> {
  await using frames = client.orchestrator.copyFromContainer({ containerId, path: "/tmp/file" });
  for await (const _ of frames);
}

/** An archive of one file, made as it is taken. */
async function* archiveOf(mebibytes: number): AsyncGenerator<Uint8Array> {
  const archive = pack();
  const file = archive.entry({ name: "file", size: mebibytes * pieceBytes });
  const piece = Buffer.alloc(pieceBytes, 7);
  const feeding = (async () => {
    for (let written = 0; written < mebibytes; written += 1) {
      if (!file.write(piece)) await new Promise((resolve) => file.once("drain", resolve));
    }
    file.end();
    archive.finalize();
  })();
  yield* archive;
  await feeding;
}
