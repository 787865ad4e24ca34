import { longestTimerMs } from "../longest-timer.ts";

/**
 * Calls `act` once when `ms` milliseconds are over, until it is disposed. Undefined and 0 are without end; more than a
 * timer can hold, 24.8 days, is that.
 */
export function after(ms: number | undefined, act: () => void): Disposable {
  if (ms === undefined || ms === 0) return { [Symbol.dispose]: () => undefined };
  const timer = setTimeout(act, Math.min(ms, longestTimerMs));
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
