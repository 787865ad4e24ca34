import type { Position } from "./event.ts";
import type { EventLog } from "./log.ts";

/** How long, and how many, events are kept. */
export interface EventRetention {
  /** Milliseconds; 0 is for ever. */
  readonly maxAgeMs: number;
  readonly maxCount: number;
}

/** How many events are removed at once: bounds how long the store is held. */
const trimStep = 2_000;

/** Forgets the events that are too old or too many; the newest one stays, and nothing that lives needs the others. */
export async function trimLog(
  log: EventLog,
  options: {
    readonly retention: EventRetention;
    readonly now: number;
    readonly signal: AbortSignal;
    readonly trim: (before: Position, limits: { readonly limit: number }) => Promise<number>;
  },
): Promise<void> {
  const { retention, now, signal, trim } = options;
  const tooMany = log.tail - retention.maxCount + 1;
  const tooOld =
    retention.maxAgeMs === 0 ? 0 : await log.positionAt({ kind: "time", time: now - retention.maxAgeMs });
  const before = Math.max(tooMany, tooOld + 1);
  while (!signal.aborted && (await trim(before, { limit: trimStep })) === trimStep) {
    await new Promise((resolve) => setImmediate(resolve)); // requests come first
  }
}
