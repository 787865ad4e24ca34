import type { LimitSpec } from "../../runtime/runtime.ts";
import type { ResourceLimits } from "../../sessions/session.ts";
import { leastMemory } from "./container-limits.ts";
import type { Refusal } from "./refusal.ts";

/** More than any number that the wire can carry: what swap without end counts as. */
const endless = 2n ** 63n;
/** The least processor time that Docker takes, in billionths of a processor. */
const leastCpu = 10_000_000n;

/** What a container of a session gets, or why it gets nothing. All that the session's containers have is `used`. */
export function limitsFor(
  asked: ResourceLimits,
  options: {
    readonly session: ResourceLimits;
    readonly used: ResourceLimits;
    readonly defaults: { readonly nanoCpu: bigint; readonly memoryBytes: bigint; readonly pids: bigint };
  },
): { readonly limits: LimitSpec; readonly refusals: readonly Refusal[] } {
  const { session, used, defaults } = options;
  const room = (most: bigint, taken: bigint): Room | undefined =>
    most > 0n ? { most, left: most > taken ? most - taken : 0n } : undefined;
  const swapRoom = room(mostSwap(session), used.memorySwap);
  const memoryRoom = room(session.memoryBytes, used.memoryBytes);
  const nanoCpu = share("nano_cpu", asked.nanoCpu, {
    room: room(session.nanoCpu, used.nanoCpu),
    fallback: defaults.nanoCpu,
    least: leastCpu,
  });
  const pids = share("pids_limit", asked.pidsLimit, {
    room: room(session.pidsLimit, used.pidsLimit),
    fallback: defaults.pids,
    least: 1n,
  });
  const memory = share("memory_bytes", asked.memoryBytes, {
    room: asked.memorySwap === 0n ? narrower(memoryRoom, swapRoom) : memoryRoom,
    // Swap includes the memory, so that no more of it can be meant.
    fallback:
      asked.memorySwap > 0n && asked.memorySwap < defaults.memoryBytes
        ? asked.memorySwap
        : defaults.memoryBytes,
    least: leastMemory,
  });
  // Without swap unless it is asked for: swap would let a container use more than its limit says.
  const swapAsked = asked.memorySwap === 0n ? memory.value : asked.memorySwap;
  const swap = share("memory_swap", swapAsked === -1n ? endless : swapAsked, {
    room: memory.refusals.length > 0 && asked.memorySwap === 0n ? undefined : swapRoom,
    fallback: 0n,
    least: 0n,
  });
  return {
    limits: {
      nanoCpu: nanoCpu.value,
      memoryBytes: memory.value,
      memorySwapBytes: swapAsked,
      pids: pids.value,
    },
    refusals: [...nanoCpu.refusals, ...memory.refusals, ...pids.refusals, ...swap.refusals],
  };
}

/** What a container with these limits counts as. */
export function addLimits(sum: ResourceLimits, one: ResourceLimits, sign: 1n | -1n): ResourceLimits {
  const added = (before: bigint, value: bigint) => {
    const after = before + sign * (value === -1n ? endless : value);
    return after < 0n ? 0n : after;
  };
  return {
    nanoCpu: added(sum.nanoCpu, one.nanoCpu),
    memoryBytes: added(sum.memoryBytes, one.memoryBytes),
    memorySwap: added(sum.memorySwap, one.memorySwap),
    pidsLimit: added(sum.pidsLimit, one.pidsLimit),
  };
}

interface Room {
  /** The session's limit. */
  readonly most: bigint;
  /** What its containers have left of it. */
  readonly left: bigint;
}

/** Swap counts together with memory, so a limit on memory alone is one on both. */
function mostSwap({ memorySwap, memoryBytes }: ResourceLimits): bigint {
  return memorySwap === 0n ? memoryBytes : memorySwap;
}

function narrower(one: Room | undefined, other: Room | undefined): Room | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return other.left < one.left ? other : one;
}

/** What was asked for; else the default, or what is left where that is less. */
function share(
  name: string,
  asked: bigint,
  given: { readonly room: Room | undefined; readonly fallback: bigint; readonly least: bigint },
): { readonly value: bigint; readonly refusals: readonly Refusal[] } {
  const { room, fallback, least } = given;
  const value = asked > 0n ? asked : room !== undefined && room.left < fallback ? room.left : fallback;
  if (room === undefined) return { value, refusals: [] };
  const { most, left } = room;
  const field = `config.resource_limits.${name}`;
  const is = asked === endless ? -1n : asked;
  const rest = `${left} is left of the session's ${most}`;
  if (asked > most) {
    return { value, refusals: [{ kind: "denied", field, description: `is ${is}; the session has ${most}` }] };
  }
  if (asked > left) {
    return { value, refusals: [{ kind: "exhausted", field, description: `is ${is}; ${rest}` }] };
  }
  if (asked <= 0n && left < least) {
    const description = `is not given; ${rest}, and ${least} is the least`;
    return { value, refusals: [{ kind: "exhausted", field, description }] };
  }
  return { value, refusals: [] };
}
