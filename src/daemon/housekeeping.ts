import type { EventLog } from "../events/log.ts";
import { trimLog } from "../events/retention.ts";
import { removeAnswers, removeClosed } from "../sessions/retention.ts";
import type { Store } from "../store/store.ts";
import type { Config } from "./config.ts";
import { pause } from "./pause.ts";

/** How often retention is looked after, in milliseconds. */
const everyMs = 30_000;

/** Removes what retention no longer keeps, until the signal aborts. */
export async function keepHouse(
  parts: {
    readonly store: Store;
    readonly log: EventLog;
    readonly clock: () => number;
    /** Asked each time: it can be read again. */
    readonly retention: () => Config["retention"];
  },
  signal: AbortSignal,
): Promise<void> {
  const { store, log, clock } = parts;
  while (!signal.aborted) {
    const { eventsMaxAgeMs, eventsMaxCount, closedSessionsMs } = parts.retention();
    const now = clock();
    if (closedSessionsMs > 0) await removeClosed(store, now - closedSessionsMs, signal);
    await removeAnswers(store, now, signal);
    await trimLog(log, {
      retention: { maxAgeMs: eventsMaxAgeMs, maxCount: eventsMaxCount },
      now,
      signal,
      trim: (before, limits) => store.trimEvents(before, limits),
    });
    await pause(Math.min(everyMs, Math.max(1_000, eventsMaxAgeMs / 2 || everyMs)), signal);
  }
}
