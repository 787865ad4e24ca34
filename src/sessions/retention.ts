import type { Instant } from "../events/event.ts";
import { changed, remove, type Store } from "../store/store.ts";
import { activityTable, type SessionId, sessionTable } from "./session.ts";

/**
 * Removes the sessions that were closed before `closedBefore`, and before each what belongs to it. Open ones are never
 * touched. Resolves to how many there were.
 */
export async function removeClosed(
  store: Store,
  options: {
    readonly closedBefore: Instant;
    readonly signal: AbortSignal;
    /** Removes what a session has; called again after an interruption. */
    readonly removeContents: (id: SessionId) => Promise<void>;
  },
): Promise<number> {
  const { closedBefore, signal } = options;
  const query = { where: { closedAt: { lt: closedBefore } }, orderBy: "closedAt", limit: 50 };
  let removed = 0;
  while (!signal.aborted) {
    const { rows } = await store.list(sessionTable, query);
    if (rows.length === 0) return removed;
    for (const { id } of rows) {
      await options.removeContents(id);
      if (signal.aborted) return removed;
      await store.change({}, () => changed(undefined, [remove(activityTable, id), remove(sessionTable, id)]));
      removed += 1;
    }
  }
  return removed;
}
