import type { Instant } from "../events/event.ts";
import { removeWhere } from "../store/remove-where.ts";
import { changed, put, remove, type Store } from "../store/store.ts";
import { recordingName, recordingTable } from "./recorded-rows.ts";
import type { Task } from "./task.ts";
import { censusRow, censusTable, counted, taskDataKey, taskDataTable, taskTable } from "./task-rows.ts";

/** How many tasks are looked at together. */
const step = 100;

/** Removes the tasks that ended before a time, and before each what was recorded of it. */
export async function removeEnded(
  store: Store,
  options: { readonly endedBefore: Instant; readonly signal: AbortSignal },
): Promise<void> {
  const { endedBefore, signal } = options;
  while (!signal.aborted) {
    const query = { where: { endedAt: { lt: endedBefore } }, orderBy: "endedAt", limit: step };
    const { rows } = await store.list(taskTable, query);
    if (rows.length === 0) return;
    await Promise.all(rows.map((task) => removeTask(store, task, signal)));
  }
}

async function removeTask(store: Store, task: Task, signal: AbortSignal): Promise<void> {
  for (const kind of ["output", "input"] as const) {
    const query = { where: { recording: recordingName(task.id, kind) }, orderBy: "startsAt" };
    await removeWhere(store, recordingTable, { query, signal });
  }
  if (signal.aborted) return;
  await store.change({ census: { table: censusTable, key: censusRow } }, (loaded) => {
    const census = counted(loaded.census, task, undefined);
    return changed(undefined, [
      remove(taskTable, task.id),
      remove(taskDataTable, taskDataKey(task.id, "input_data")),
      remove(taskDataTable, taskDataKey(task.id, "result")),
      ...(census === undefined ? [] : [put(censusTable, census)]),
    ]);
  });
}
