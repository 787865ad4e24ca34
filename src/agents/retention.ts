import { Bell } from "../events/bell.ts";
import type { Instant } from "../events/event.ts";
import { removeOld } from "../store/remove-old.ts";
import type { Store } from "../store/store.ts";
import { agentTable } from "./agent.ts";

export interface AgentRetention {
  /** How long an agent that was lost or has signed off is kept, in milliseconds. */
  readonly keepEndedMs: number;
  /** How many of them are, the newest. */
  readonly maxEnded: number;
}

/** How often it is looked after, in milliseconds. */
const everyMs = 5_000;

/** Forgets agents that were lost or have signed off long ago, or are too many, until the signal aborts. */
export async function forgetEnded(
  parts: { readonly store: Store; readonly clock: () => Instant; readonly retention: AgentRetention },
  signal: AbortSignal,
): Promise<void> {
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring, { once: true });
  while (!signal.aborted) {
    await forgetEndedOnce(parts, signal);
    await bell.wait(everyMs);
  }
}

/** The same once. */
export async function forgetEndedOnce(
  parts: { readonly store: Store; readonly clock: () => Instant; readonly retention: AgentRetention },
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, retention } = parts;
  await removeOld(store, agentTable, {
    where: { state: ["lost", "unregistered"] },
    orderBy: "endedAt",
    until: clock() - retention.keepEndedMs,
    most: retention.maxEnded,
    signal,
  });
}
