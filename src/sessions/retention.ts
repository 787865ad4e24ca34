import type { Instant } from "../events/event.ts";
import { messageTable } from "../messages/message.ts";
import { answerTable } from "../store/answers.ts";
import { changed, remove, type Store } from "../store/store.ts";
import { activityTable, sessionTable } from "./session.ts";

/** How many rows one commit removes: bounds how long the store is held. */
const step = 500;

/** Removes sessions that were closed before `closedBefore`, with their messages. Open ones are never touched. */
export async function removeClosed(
  store: Store,
  closedBefore: Instant,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  while (!signal.aborted) {
    const { rows } = await store.list(sessionTable, {
      where: { closedAt: { lt: closedBefore } },
      orderBy: "closedAt",
      limit: 50,
    });
    if (rows.length === 0) return removed;
    for (const session of rows) {
      await removeMessages(store, session.id, signal);
      if (signal.aborted) return removed;
      await store.change({}, () =>
        changed(undefined, [remove(activityTable, session.id), remove(sessionTable, session.id)]),
      );
      removed += 1;
    }
  }
  return removed;
}

/** Forgets idempotency keys whose time is over. */
export async function removeAnswers(store: Store, now: Instant, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { rows } = await store.list(answerTable, {
      where: { expiresAt: { lte: now } },
      orderBy: "expiresAt",
      limit: step,
    });
    if (rows.length === 0) return;
    await store.change({}, () =>
      changed(
        undefined,
        rows.map((row) => remove(answerTable, row.key)),
      ),
    );
  }
}

async function removeMessages(store: Store, sessionId: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { rows } = await store.list(messageTable, {
      where: { sessionId },
      orderBy: "ordinal",
      limit: step,
    });
    if (rows.length === 0) return;
    await store.change({}, () =>
      changed(
        undefined,
        rows.map((row) => remove(messageTable, messageTable.key(row))),
      ),
    );
  }
}
