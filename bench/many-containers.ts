import { join } from "node:path";
import { ensureImage } from "../scripts/image.ts";
import { startServer } from "../test/server.ts";
import type { Bench, Figure } from "./figure.ts";
import { residentMb } from "./processor-time.ts";
import { sampleOf } from "./statistics.ts";

/** A server with many containers: a listing of them, its memory, and how soon the next server knows them again. */
export const manyContainers: Figure = {
  name: "many-containers",
  measure: async (bench) => {
    const { dockerHost } = await bench.engine();
    const image = await ensureImage(dockerHost, "busybox", bench.progress);
    const count = bench.length === "quick" ? 10 : 200;
    const dataDir = join(bench.folder, "many", "data");
    const options = { program: [bench.program], dockerHost, dataDir };
    const first = await startServer(options);
    const { orchestrator } = first.client;
    const { sessionId } = await orchestrator.createSession({ config: { maxContainers: count } });
    try {
      const config = { image, command: ["sleep", "3600"] };
      for (let made = 0; made < count; made += 1) {
        await orchestrator.createContainer({ sessionId, config }, { timeoutMs: 60_000 });
        if (made % 50 === 49) bench.progress(`  container ${made + 1} of ${count}`);
      }
      const listing = await timeListings(first, { sessionId, count });
      await Bun.sleep(settleMs);
      const memory = residentMb(first.pid);
      await first.kill();
      const known = await timeRestarts(bench, options, count);
      return [
        row(`list of ${count} containers`, "ms", listing, { is: "below", value: 10 }),
        row(`start to knowing ${count} containers`, "ms", known, { is: "below", value: 2_000 }),
        row(`memory with ${count} containers, resident`, "MB", [memory], { is: "below", value: 130 }),
      ];
    } finally {
      await first[Symbol.asyncDispose]();
      await using last = await startServer(options);
      await last.client.orchestrator.closeSession({ sessionId }, { timeoutMs: 300_000 });
    }
  },
};

/** How long after the last call memory is read, in milliseconds: what is held counts, not what waits to be collected. */
const settleMs = 20_000;

type Server = Awaited<ReturnType<typeof startServer>>;

async function timeListings(
  { client }: Server,
  of: { readonly sessionId: string; readonly count: number },
): Promise<readonly number[]> {
  const times: number[] = [];
  // The first ones warm up and are not counted.
  for (let round = -5; round < 50; round += 1) {
    const begin = performance.now();
    const { containers } = await client.orchestrator.listContainers({ filter: { sessionId: of.sessionId } });
    if (round >= 0) times.push(performance.now() - begin);
    if (containers.length !== of.count) throw new Error(`${containers.length} are listed, of ${of.count}`);
  }
  return times;
}

/** From the start of the process until it has compared all containers with the engine. */
async function timeRestarts(
  bench: Bench,
  options: { readonly program: readonly string[]; readonly dockerHost: string; readonly dataDir: string },
  count: number,
): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < (bench.length === "quick" ? 1 : 5); round += 1) {
    const begin = performance.now();
    const server = await startServer(options);
    await server.logged("the container engine answers");
    times.push(performance.now() - begin);
    const { totalCount } = await server.client.orchestrator.listContainers({ pageSize: 1 });
    await server.kill();
    await server[Symbol.asyncDispose]();
    if (totalCount !== count) throw new Error(`${totalCount} are known, of ${count}`);
  }
  return times;
}

function row(
  what: string,
  unit: string,
  values: readonly number[],
  target: { readonly is: "below"; readonly value: number },
) {
  return { what, unit, ours: sampleOf(values), target: { of: "ours" as const, ...target } };
}
