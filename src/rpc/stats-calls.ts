import type { ContainerId } from "../containers/container.ts";
import type { Stats } from "../containers/stats.ts";
import { invalid } from "../failure.ts";
import type { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { toWireUsage } from "./wire-usage.ts";
import { requiredId, timestamp } from "./wire-values.ts";

/** Between two readings, in milliseconds: the shortest and the longest time that may be asked for, and the usual. */
const leastIntervalMs = 100;
const mostIntervalMs = 86_400_000;
const defaultIntervalMs = 1_000;

/** OrchestratorService's call that measures a container. */
export function statsCalls(stats: Stats): Handlers<typeof OrchestratorService> {
  return {
    streamContainerStats: async function* (request, call) {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      const usages = await stats.stream(id, intervalOf(request.intervalNs), askedBy(call));
      call.open();
      for await (const usage of usages) {
        yield { containerId: id, timestamp: timestamp(usage.at), usage: toWireUsage(usage) };
      }
    },
  };
}

function intervalOf(ns: bigint): number {
  if (ns === 0n) return defaultIntervalMs;
  const ms = Number(ns) / 1e6;
  if (ms >= leastIntervalMs && ms <= mostIntervalMs) return ms;
  const description = `is ${ns}; 0 (a second) or 100000000 (100 ms) to 86400000000000 (a day) are allowed`;
  throw invalid("measure a container", [{ field: "interval_ns", description }]);
}
