import { z } from "zod";
import { Failure } from "../../failure.ts";
import type { ResourceReading, RuntimeId } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { named, pathOf } from "./lifecycle.ts";

/**
 * One reading. Engines before API 1.41 take two and some seconds; Docker 20.10 measures once a second, and lets whoever
 * asks in between wait for the next time.
 */
export async function readStats(
  engine: Engine,
  id: RuntimeId,
  signal: AbortSignal,
): Promise<ResourceReading> {
  const doing = `measure ${named(id)}`;
  const query = { stream: false, "one-shot": true };
  const path = `${pathOf(id)}/stats`;
  const found = await engine.call({ doing, method: "GET", path, query }, Stats.or(NOTHING), signal);
  const at = found === "" ? 0 : Date.parse(found.read);
  // Of what does not run engines say empty numbers of the year 1, or nothing.
  if (found === "" || !(at > 0))
    throw new Failure("failed_precondition", `Cannot ${doing}: it is not running`);
  const networks = Object.values(found.networks ?? {});
  return {
    at,
    cpuNs: found.cpu_stats.cpu_usage.total_usage,
    ...memoryOf(found.memory_stats),
    networkRxBytes: sum(networks.map(({ rx_bytes }) => rx_bytes)),
    networkTxBytes: sum(networks.map(({ tx_bytes }) => tx_bytes)),
    blockReadBytes: transferred(found.blkio_stats, "read"),
    blockWriteBytes: transferred(found.blkio_stats, "write"),
    pids: found.pids_stats.current,
    pidsLimit: bounded(await pidsLimit(engine, { id, doing, found }, signal)),
  };
}

/** An engine that measures without it has it in the container's configuration; there -1 is without end. */
async function pidsLimit(
  engine: Engine,
  at: { readonly id: RuntimeId; readonly doing: string; readonly found: z.infer<typeof Stats> },
  signal: AbortSignal,
): Promise<number> {
  const { measuresPidsLimit } = await engine.dialect(at.doing, signal);
  if (measuresPidsLimit) return at.found.pids_stats.limit;
  const request = { doing: at.doing, method: "GET", path: `${pathOf(at.id)}/json` } as const;
  const { HostConfig } = await engine.call(request, Configured, signal);
  return Math.max(HostConfig.PidsLimit ?? 0, 0);
}

const Configured = z.object({ HostConfig: z.object({ PidsLimit: z.number().nullish() }) });
/** An answer without a word. */
const NOTHING = z.literal("");

const Stats = z.object({
  read: z.string(),
  cpu_stats: z.object({ cpu_usage: z.object({ total_usage: z.number().default(0) }) }),
  memory_stats: z.object({
    usage: z.number().default(0),
    limit: z.number().default(0),
    stats: z.record(z.string(), z.number()).nullish(),
  }),
  pids_stats: z.object({ current: z.number().default(0), limit: z.number().default(0) }),
  blkio_stats: z.object({
    io_service_bytes_recursive: z.array(z.object({ op: z.string(), value: z.number() })).nullish(),
  }),
  networks: z
    .record(z.string(), z.object({ rx_bytes: z.number().default(0), tx_bytes: z.number().default(0) }))
    .nullish(),
});

type MemoryStats = z.infer<typeof Stats>["memory_stats"];

/** The kernel counts files that it only keeps for speed, and gives back when memory is wanted. */
function memoryOf({ usage, limit, stats }: MemoryStats) {
  const kept = stats?.total_inactive_file ?? stats?.inactive_file ?? 0; // cgroups 1, 2
  return { memoryBytes: kept < usage ? usage - kept : usage, memoryLimitBytes: bounded(limit) };
}

function transferred({ io_service_bytes_recursive: all }: z.infer<typeof Stats>["blkio_stats"], op: string) {
  return sum((all ?? []).filter((one) => one.op.toLowerCase() === op).map(({ value }) => value));
}

/** "Without a limit" is written as a number that no machine has. */
function bounded(limit: number): number {
  return limit <= Number.MAX_SAFE_INTEGER ? limit : 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
