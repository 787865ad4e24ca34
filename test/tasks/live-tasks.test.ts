import { expect, test } from "bun:test";
import { changed, put } from "../../src/store/store.ts";
import { LiveTasks } from "../../src/tasks/live-tasks.ts";
import type { TaskId } from "../../src/tasks/task.ts";
import { taskTable } from "../../src/tasks/task-rows.ts";
import { acceptedTask, cancelTask } from "../../src/tasks/task-rules.ts";
import { MemoryStore } from "../store/memory-store.ts";
import { taskConfig, taskPolicy } from "./handed-out.ts";

test("LiveTasks.open() gives a task that is not forgotten when another stream of it ends in the same turn", async () => {
  await using store = new MemoryStore();
  const asked = { sessionId: "", name: "x", type: "custom", priority: "normal", wantedAgent: "" } as const;
  const { task } = acceptedTask(
    { ...asked, id: Bun.randomUUIDv7() as TaskId, config: taskConfig },
    { at: 1, policy: taskPolicy },
  );
  await store.change({}, () => changed(undefined, [put(taskTable, task)]));
  const limits = { maxOutputBytes: 1_000, maxInputBytes: 1_000, readPatienceMs: 1 };
  const live = new LiveTasks({ store, ...limits, onCut: () => {} });
  const wake = () => {};
  const first = await live.open(task.id, { doing: "look at task", wake });
  let woken = 0;
  const opening = live.open(task.id, { doing: "look at task", wake: () => (woken += 1) });
  first.watchers.delete(wake);
  live.left(first);
  live.sweep();
  const second = await opening;
  live.changed(task, cancelTask(task, { reason: "", by: "", how: "force", at: 2, policy: taskPolicy }).task);
  expect(woken).toBe(1);
  expect(second.task.life.state).toBe("cancelled");
});
