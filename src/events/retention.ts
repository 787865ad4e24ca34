import type { Instant, Position } from "./event.ts";
import type { EventStorage } from "./storage.ts";

/** How long, how many, and how much of the events are kept: what keeps fewest counts. */
export interface EventRetention {
  /** Milliseconds; 0 is for ever. */
  readonly maxAgeMs: number;
  readonly maxCount: number;
  /** Of their text. */
  readonly maxBytes: number;
}

/** How many events are removed at once: bounds how long the store is held. */
const trimStep = 2_000;

/** Forgets the events that are too old, too many or too much; the newest one stays, and nothing that lives needs the others. */
export async function trimLog(
  storage: EventStorage,
  options: {
    readonly retention: EventRetention;
    readonly now: Instant;
    readonly signal: AbortSignal;
    readonly trim: (before: Position, limits: { readonly limit: number }) => Promise<number>;
  },
): Promise<void> {
  const { retention, now, signal, trim } = options;
  const { maxAgeMs, maxCount, maxBytes } = retention;
  const tooOld = maxAgeMs === 0 ? 0 : await storage.positionBefore(now - maxAgeMs);
  const tooMuch = await storage.positionKeeping(maxBytes);
  const before = 1 + Math.max(tooOld, tooMuch, storage.tail - maxCount);
  while (!signal.aborted && (await trim(before, { limit: trimStep })) > 0) {
    await new Promise((resolve) => setImmediate(resolve)); // requests come first
  }
}
