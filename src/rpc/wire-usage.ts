import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Usage } from "../containers/usage.ts";
import type { ResourceUsageSchema } from "../gen/proto/common/v1/common_pb.ts";

export function toWireUsage(usage: Usage): MessageInitShape<typeof ResourceUsageSchema> {
  return {
    cpuPercent: usage.cpuPercent,
    memoryUsage: BigInt(usage.memoryBytes),
    memoryLimit: BigInt(usage.memoryLimitBytes),
    memoryPercent: usage.memoryPercent,
    networkRx: BigInt(usage.networkRxBytes),
    networkTx: BigInt(usage.networkTxBytes),
    blockRead: BigInt(usage.blockReadBytes),
    blockWrite: BigInt(usage.blockWriteBytes),
    pidsCount: BigInt(usage.pids),
  };
}
