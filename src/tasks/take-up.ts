import { type Session, sessionTable } from "../sessions/session.ts";
import type { Store } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import { type ClosedSessions, isOfClosed } from "./closed-sessions.ts";
import type { HandingOut } from "./handing-out.ts";
import type { Silences } from "./silences.ts";
import { isLeased, type Task } from "./task.ts";
import { censusRow, censusTable, kindsOf, taskTable } from "./task-rows.ts";

/**
 * Takes up the tasks that the server before this one has left: those with agents stay with them, and their workers have a
 * while to come back; those that waited wait again, in their order. What belongs to a session that was closed is given up.
 */
export async function takeUpTasks(parts: {
  readonly store: Store;
  readonly handing: HandingOut;
  readonly silences: Silences;
  readonly closedSessions: ClosedSessions;
}): Promise<void> {
  const { store, handing, silences, closedSessions } = parts;
  const closed = new Map<string, Session | undefined>();
  const takeUp = async (task: Task) => {
    handing.takeUp(task);
    if (isLeased(task) && task.life.state !== "pending") silences.begin(task, "restart");
    if (task.sessionId === "" || closed.has(task.sessionId)) return;
    const session = await store.get(sessionTable, task.sessionId);
    if (isOfClosed(task, session)) closed.set(task.sessionId, session);
  };
  const census = await store.get(censusTable, censusRow);
  for (const state of ["pending", "running", "paused", "queued"] as const)
    await each(store, kindsOf(census, { state }), takeUp);
  for (const [sessionId, session] of closed) closedSessions.giveUp(sessionId, session);
}

async function each(
  store: Store,
  kind: readonly string[],
  act: (task: Task) => Promise<void>,
): Promise<void> {
  let after: PagePlace | undefined;
  do {
    const page = await store.list(taskTable, { where: { kind }, limit: 1_000, after });
    for (const task of page.rows) await act(task);
    after = page.next;
  } while (after !== undefined);
}
