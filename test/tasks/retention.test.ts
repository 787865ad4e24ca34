import { expect, test } from "bun:test";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { changed, put } from "../../src/store/store.ts";
import { recordingName, recordingTable } from "../../src/tasks/recorded-rows.ts";
import { removeEnded } from "../../src/tasks/retention.ts";
import type { Task, TaskId } from "../../src/tasks/task.ts";
import {
  censusRow,
  censusTable,
  counted,
  countOf,
  inputDataRow,
  taskDataKey,
  taskDataTable,
  taskTable,
} from "../../src/tasks/task-rows.ts";
import { acceptedTask, cancelTask, type TaskPolicy } from "../../src/tasks/task-rules.ts";
import { tempFolder } from "../temp-folder.ts";

const policy: TaskPolicy = {
  ...{ defaultTimeoutMs: 0, defaultDeadlineMs: 0, beginTimeoutMs: 1, cancelGraceMs: 1 },
  ...{ retryDelayMs: 1, maxRetryDelayMs: 1 },
};

test("removeEnded() removes tasks that ended before a time with all that was recorded of them, and counts them no more", async () => {
  await using folder = await tempFolder();
  await using store = new SqliteStore(folder.file("tasks.db"));
  const add = async (id: string, endedAt: number | undefined): Promise<void> => {
    const task = taskOf(id, endedAt);
    await store.change({ census: { table: censusTable, key: censusRow } }, ({ census }) => {
      const next = counted(census, undefined, task);
      const recording = recordingName(task.id, "output");
      const pieces = [{ stream: "stdout", attempt: 1, size: 1, text: "x" }];
      return changed(undefined, [
        put(taskTable, task),
        inputDataRow(task.id, Buffer.from("in")),
        put(recordingTable, { recording, startsAt: 0, pieces }),
        ...(next === undefined ? [] : [put(censusTable, next)]),
      ]);
    });
  };
  await add("old", 1_000);
  await add("new", 3_000);
  await add("open", undefined);

  await removeEnded(store, { endedBefore: 2_000, signal: new AbortController().signal });

  const rows = (await store.list(taskTable, { limit: 10 })).rows.map(({ id }) => id as string);
  expect(rows).toEqual(["new", "open"]);
  const recorded = (await store.list(recordingTable, { limit: 10 })).rows.map(({ recording }) => recording);
  expect(recorded).toEqual(["new/output", "open/output"]);
  expect(await store.get(taskDataTable, taskDataKey("old" as TaskId, "input_data"))).toBeUndefined();
  expect(await store.get(taskDataTable, taskDataKey("new" as TaskId, "input_data"))).toBeDefined();
  const census = await store.get(censusTable, censusRow);
  expect([countOf(census, {}), countOf(census, { state: "cancelled" })]).toEqual([2, 1]);
});

function taskOf(id: string, endedAt: number | undefined): Task {
  const config = {
    ...{ command: "", arguments: [], environment: {}, workingDirectory: "", parameters: {} },
    ...{ timeoutNs: 0, deadlineNs: 0, maxRetries: 0, retryOnFailure: false, inputDataBytes: 2 },
    constraints: null,
  };
  const asked = { id: id as TaskId, sessionId: "", name: id, wantedAgent: "", config };
  const { task } = acceptedTask({ ...asked, type: "custom", priority: "normal" }, { at: 0, policy });
  if (endedAt === undefined) return task;
  return cancelTask(task, { reason: "", by: "", how: "force", at: endedAt, policy }).task;
}
