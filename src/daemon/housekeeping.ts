import { conversationTable, turnTable } from "../chat/turn.ts";
import { trimLog } from "../events/retention.ts";
import { messageTable } from "../messages/message.ts";
import { removeClosed } from "../sessions/retention.ts";
import { answerTable } from "../store/answers.ts";
import { removeWhere } from "../store/remove-where.ts";
import { changed, remove, type Store } from "../store/store.ts";
import { removeEnded } from "../tasks/retention.ts";
import type { Config } from "./config.ts";
import { pause } from "./pause.ts";

/** How often retention is looked after, in milliseconds. */
const everyMs = 5_000;

/** Removes what retention no longer keeps, until the signal aborts. */
export async function keepHouse(
  parts: {
    readonly store: Store;
    readonly clock: () => number;
    /** Asked each time: it can be read again. */
    readonly retention: () => Config["retention"];
  },
  signal: AbortSignal,
): Promise<void> {
  const { store, clock } = parts;
  while (!signal.aborted) {
    const { eventsMaxAgeMs, eventsMaxCount, eventsMaxBytes, ...states } = parts.retention();
    const { closedSessionsMs, endedTasksMs } = states;
    const now = clock();
    if (closedSessionsMs > 0) await removeSessions(store, now - closedSessionsMs, signal);
    if (endedTasksMs > 0) await removeEnded(store, { endedBefore: now - endedTasksMs, signal });
    await removeWhere(store, answerTable, {
      query: { where: { expiresAt: { lte: now } }, orderBy: "expiresAt" },
      signal,
    });
    await trimLog(store.events, {
      retention: { maxAgeMs: eventsMaxAgeMs, maxCount: eventsMaxCount, maxBytes: eventsMaxBytes },
      now,
      signal,
      trim: (before, limits) => store.trimEvents(before, limits),
    });
    await pause(Math.min(everyMs, Math.max(1_000, eventsMaxAgeMs / 2 || everyMs)), signal);
  }
}

function removeSessions(store: Store, closedBefore: number, signal: AbortSignal): Promise<number> {
  return removeClosed(store, {
    closedBefore,
    signal,
    removeContents: async (sessionId) => {
      await removeWhere(store, messageTable, { query: { where: { sessionId }, orderBy: "ordinal" }, signal });
      await removeWhere(store, turnTable, { query: { where: { sessionId } }, signal });
      await store.change({}, () => changed(undefined, [remove(conversationTable, sessionId)]));
    },
  });
}
