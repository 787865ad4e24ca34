import { Bell } from "../events/bell.ts";
import type { HandingOut } from "./handing-out.ts";

/** How often the sessions of which agents have tasks are told that they are in use, in milliseconds. */
const everyMs = 1_000;
/** How many of them are told at a time. */
const atOnce = 256;

/** A session is in use while an agent is at a task of it, whatever else happens there; until the signal aborts. */
export async function keepSessionsInUse(
  parts: {
    readonly handing: Pick<HandingOut, "sessionsAtWork">;
    /** Counts as use of a session; does not fail because it can't be written. */
    readonly touch: (sessionId: string) => Promise<void>;
  },
  signal: AbortSignal,
): Promise<void> {
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring, { once: true });
  while (!signal.aborted) {
    await bell.wait(everyMs);
    const ids = [...parts.handing.sessionsAtWork()];
    for (let at = 0; at < ids.length && !signal.aborted; at += atOnce)
      await Promise.all(ids.slice(at, at + atOnce).map((id) => parts.touch(id)));
  }
}
