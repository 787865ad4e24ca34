import { create } from "@bufbuild/protobuf";
import { type ResourceLimits, ResourceLimitsSchema } from "../gen/proto/common/v1/common_pb.ts";
import { cores, type Flags, type FlagValues, int, size } from "./flag.ts";

/** How much a container may use. */
export const limitFlags = {
  memory: size({ about: "memory, such as 512m or 2GiB" }),
  cpus: cores({ about: "processor time in cores, such as 0.5" }),
  memorySwap: size({ about: "memory and swap together, which includes --memory" }),
  pids: int({ about: "processes and threads at one time", min: 1 }),
} satisfies Flags;

/** The limits of a request: those of the flags, and of `base` where there is none; undefined without any. */
export function limitsOf(
  flags: FlagValues<typeof limitFlags>,
  base?: ResourceLimits,
): ResourceLimits | undefined {
  const { memory, memorySwap, cpus, pids } = flags;
  if ([memory, memorySwap, cpus, pids].every((value) => value === undefined)) return base;
  return create(ResourceLimitsSchema, {
    memorySwap: memorySwap ?? base?.memorySwap ?? 0n,
    memoryBytes: memory ?? base?.memoryBytes ?? 0n,
    nanoCpu: cpus ?? base?.nanoCpu ?? 0n,
    pidsLimit: pids === undefined ? (base?.pidsLimit ?? 0n) : BigInt(pids),
  });
}

/** Nanoseconds of the wire; 0, the server's default, where none was given. */
export function nanoseconds(ms: number | undefined): bigint {
  return BigInt(ms ?? 0) * 1_000_000n;
}
