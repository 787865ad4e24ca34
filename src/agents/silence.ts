import { Bell } from "../events/bell.ts";
import type { Agents } from "./agents.ts";

/** Gives up on agents that are silent for too long, until the signal aborts. */
export async function watchSilence(
  agents: Agents,
  { graceMs, signal }: { readonly graceMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const everyMs = Math.min(1_000, Math.max(20, graceMs / 10));
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring, { once: true });
  while (!signal.aborted) {
    await agents.loseSilent(everyMs, signal);
    await bell.wait(everyMs);
  }
}
