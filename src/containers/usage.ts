import type { ResourceReading } from "../runtime/runtime.ts";

/** What a container uses at a moment, or several together. */
export interface Usage {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** In percent of one core, since the reading before. */
  readonly cpuPercent: number;
  /** Without what the kernel only keeps for speed. */
  readonly memoryBytes: number;
  /** 0 where there is none. */
  readonly memoryLimitBytes: number;
  /** 0 without a limit. */
  readonly memoryPercent: number;
  /** Bytes since the container's start, as those that follow. */
  readonly networkRxBytes: number;
  readonly networkTxBytes: number;
  readonly blockReadBytes: number;
  readonly blockWriteBytes: number;
  readonly pids: number;
  /** 0 where there is none. */
  readonly pidsLimit: number;
}

/** What processor time is counted from: the reading before, or the container's start. */
export type CpuSince = Pick<ResourceReading, "at" | "cpuNs">;

/** What a reading means; the counters of `base` are another run's when they are higher, and `startedAt` counts then. */
export function usageOf(
  reading: ResourceReading,
  { base, startedAt }: { readonly base: CpuSince | undefined; readonly startedAt: number },
): Usage {
  const { cpuNs, ...rest } = reading;
  const isOfThisRun =
    base !== undefined && base.cpuNs <= cpuNs && base.at < reading.at && base.at >= startedAt;
  const from = isOfThisRun ? base : { at: startedAt, cpuNs: 0 };
  const passedNs = (reading.at - from.at) * 1e6;
  return {
    ...rest,
    cpuPercent: passedNs > 0 ? ((cpuNs - from.cpuNs) / passedNs) * 100 : 0,
    memoryPercent: percentOf(reading.memoryBytes, reading.memoryLimitBytes),
  };
}

/** What several containers use together; undefined for none. */
export function sumOf(usages: readonly Usage[]): Usage | undefined {
  if (usages.length === 0) return undefined;
  const total = (of: (usage: Usage) => number) => usages.reduce((sum, usage) => sum + of(usage), 0);
  const memoryBytes = total((usage) => usage.memoryBytes);
  // Together they have a limit only if each has one.
  const bounded = usages.every((usage) => usage.memoryLimitBytes > 0);
  const memoryLimitBytes = bounded ? total((usage) => usage.memoryLimitBytes) : 0;
  return {
    at: Math.max(...usages.map(({ at }) => at)),
    cpuPercent: total((usage) => usage.cpuPercent),
    memoryBytes,
    memoryLimitBytes,
    memoryPercent: percentOf(memoryBytes, memoryLimitBytes),
    networkRxBytes: total((usage) => usage.networkRxBytes),
    networkTxBytes: total((usage) => usage.networkTxBytes),
    blockReadBytes: total((usage) => usage.blockReadBytes),
    blockWriteBytes: total((usage) => usage.blockWriteBytes),
    pids: total((usage) => usage.pids),
    pidsLimit: usages.every(({ pidsLimit }) => pidsLimit > 0) ? total((usage) => usage.pidsLimit) : 0,
  };
}

/** What has a mark: a share of its limit at which it is told. */
type MarkedResource = "memory" | "pids";

/** A mark that was reached. */
export interface Crossing {
  readonly resource: MarkedResource;
  readonly mark: number;
  readonly percent: number;
  readonly usage: number;
  readonly limit: number;
}

/** The highest mark that each resource has reached and not fallen from; 0 for none. */
export type Reached = Readonly<Record<MarkedResource, number>>;

export const nothingReached: Reached = { memory: 0, pids: 0 };

/** How far a share has to fall below its mark before reaching it is news again, in percent of the limit. */
const hysteresisPercent = 5;

/** The marks (percent, ascending) that a usage has newly reached, and what is reached then. */
export function crossings(
  usage: Usage,
  { marks, reached }: { readonly marks: readonly number[]; readonly reached: Reached },
): { readonly reached: Reached; readonly crossed: readonly Crossing[] } {
  const crossed: Crossing[] = [];
  const step = (resource: MarkedResource, used: number, limit: number): number => {
    if (limit <= 0) return 0;
    const percent = (used / limit) * 100;
    const before = reached[resource];
    const kept = marks.findLast((mark) => mark <= before && percent >= mark - hysteresisPercent) ?? 0;
    const news = marks.filter((mark) => mark > before && percent >= mark);
    crossed.push(...news.map((mark) => ({ resource, mark, percent, usage: used, limit })));
    return news.at(-1) ?? kept;
  };
  return {
    reached: {
      memory: step("memory", usage.memoryBytes, usage.memoryLimitBytes),
      pids: step("pids", usage.pids, usage.pidsLimit),
    },
    crossed,
  };
}

function percentOf(used: number, limit: number): number {
  return limit > 0 ? Math.min(100, (used / limit) * 100) : 0;
}
