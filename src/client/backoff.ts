import { setTimeout as sleep } from "node:timers/promises";
import { abortFailure } from "../failure.ts";

/**
 * The pause before attempt `attempt` (the first repetition is 1), milliseconds: doubling from 50 up to `maxMs`, and of
 * that between half and the whole, by `random` (0 to 1), so that clients that were cut off together do not return together.
 */
export function backoffMs(
  attempt: number,
  options: { readonly maxMs: number; readonly random: number },
): number {
  const whole = Math.min(FIRST_MS * 2 ** (attempt - 1), options.maxMs);
  return Math.round(whole * (0.5 + options.random / 2));
}

const FIRST_MS = 50;

/** Waits; throws what `abortFailure` makes of `signal` when it is aborted before. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await sleep(ms);
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw abortFailure(signal); // it throws nothing but AbortErrors
  }
}
