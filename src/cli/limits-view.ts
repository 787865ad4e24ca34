import type { ResourceLimits } from "../gen/proto/common/v1/common_pb.ts";
import { writeSize } from "../quantity.ts";

/** `0.5 cores, 512MiB, 100 processes`; limits that are not set are left out. */
export function limitsText({ nanoCpu, memoryBytes, memorySwap, pidsLimit }: ResourceLimits): string {
  return [
    nanoCpu === 0n ? "" : nanoCpu === 1_000_000_000n ? "1 core" : `${Number(nanoCpu) / 1e9} cores`,
    memoryBytes === 0n ? "" : writeSize(Number(memoryBytes)),
    memorySwap === 0n ? "" : `${memorySwap < 0n ? "any" : writeSize(Number(memorySwap))} with swap`,
    pidsLimit === 0n ? "" : `${pidsLimit} processes`,
  ]
    .filter((text) => text !== "")
    .join(", ");
}
