import { sumOf, type Usage } from "../containers/usage.ts";
import type { AgentCapabilities } from "./agent.ts";

/** What agents can do together: lists united and sorted, tasks at a time summed, the largest limits. */
export function capabilitiesTogether(all: readonly AgentCapabilities[]): AgentCapabilities {
  const united = (of: (one: AgentCapabilities) => readonly string[]) =>
    [...new Set(all.flatMap(of))].toSorted();
  const largest = (of: (one: AgentCapabilities) => bigint) => {
    const limits = all.map(of);
    // No limit is more than any.
    if (limits.some((limit) => limit <= 0n)) return 0n;
    return limits.toSorted((one, other) => (one < other ? 1 : -1))[0] ?? 0n;
  };
  return {
    supportedTasks: united((one) => one.supportedTasks),
    supportedTools: united((one) => one.supportedTools),
    supportedProtocols: united((one) => one.supportedProtocols),
    maxConcurrentTasks: all.reduce((sum, one) => sum + Math.max(1, one.maxConcurrentTasks), 0),
    limits: {
      nanoCpu: largest((one) => one.limits.nanoCpu),
      memoryBytes: largest((one) => one.limits.memoryBytes),
      memorySwap: largest((one) => one.limits.memorySwap),
      pidsLimit: largest((one) => one.limits.pidsLimit),
    },
    supportsStreaming: all.some((one) => one.supportsStreaming),
    supportsCancellation: all.some((one) => one.supportsCancellation),
  };
}

/** What agents use together; undefined when none has said. Counts that are too large for a number stop at the largest. */
export function usageTogether(all: readonly Usage[]): Usage | undefined {
  const sum = sumOf(all);
  if (sum === undefined) return undefined;
  const most = (count: number) => Math.min(count, Number.MAX_SAFE_INTEGER);
  return {
    ...sum,
    memoryBytes: most(sum.memoryBytes),
    memoryLimitBytes: most(sum.memoryLimitBytes),
    networkRxBytes: most(sum.networkRxBytes),
    networkTxBytes: most(sum.networkTxBytes),
    blockReadBytes: most(sum.blockReadBytes),
    blockWriteBytes: most(sum.blockWriteBytes),
    pids: most(sum.pids),
  };
}
