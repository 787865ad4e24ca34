import type { Client } from "../../src/client/client.ts";
import { type Task, TaskState, TaskStateSchema } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "./enum-name.ts";
import type { Recorded } from "./event-record.ts";
import { outcomeOf } from "./outcome.ts";
import { executeAgain, type KnownTask, type TaskLoad } from "./task-load.ts";
import type { Violations } from "./violations.ts";

/** What the log says of one task. */
interface TaskStory {
  created: number;
  /** The states that it ended in. */
  readonly ends: string[];
  /** The numbers of its attempts, in the order in which they were handed out. */
  readonly attempts: number[];
  begun: number;
}

/** What the log says of all tasks, gathered from its events as they come. */
export class TaskStories {
  readonly stories = new Map<string, TaskStory>();
  #read = 0;

  /** Takes in the events that are new since the last time. */
  take(events: readonly Recorded[], violations: Violations): void {
    for (; this.#read < events.length; this.#read += 1) {
      const event = events[this.#read];
      if (event === undefined || event.taskId === "") continue;
      const story = this.#of(event.taskId);
      violations.unless(
        story.ends.length === 0,
        () => `the log goes on about task ${event.taskId} behind its end (${story.ends})`,
      );
      const { state = "", attempt = "0" } = event.data;
      if (event.type === EventType.TASK_CREATED) story.created += 1;
      if (event.type === EventType.TASK_COMPLETED || event.type === EventType.TASK_FAILED)
        story.ends.push(state);
      if (event.type !== EventType.TASK_UPDATED) continue;
      if (state === "pending" && event.data.cancelling === undefined) story.attempts.push(Number(attempt));
      if (state === "running" && event.data.cancelling === undefined) story.begun += 1;
    }
  }

  #of(taskId: string): TaskStory {
    const story = this.stories.get(taskId) ?? { created: 0, ends: [], attempts: [], begun: 0 };
    this.stories.set(taskId, story);
    return story;
  }
}

/** Everything that was acknowledged of tasks is there and true, and the log agrees with the rows. */
export async function checkTasks(
  client: Client,
  { load, stories, violations }: { load: TaskLoad; stories: TaskStories; violations: Violations },
): Promise<readonly Task[]> {
  const rows = await allTasks(client, violations);
  const byName = new Map<string, Task[]>();
  for (const task of rows) byName.set(task.name, [...(byName.get(task.name) ?? []), task]);
  for (const known of load.known) checkKnown(known, byName.get(known.op) ?? [], violations);
  for (const task of rows) checkStory(task, stories.stories.get(task.id), violations);
  violations.unless(
    stories.stories.size === rows.length,
    () => `the log tells of ${stories.stories.size} tasks, and there are ${rows.length}`,
  );
  checkRunAgain(load, violations);
  return rows;
}

/** Asks for keyed tasks again: each has to be the one that it was. */
export async function repeatTasks(
  client: Client,
  tasks: readonly KnownTask[],
  violations: Violations,
): Promise<number> {
  const keyed = tasks.filter(({ key }) => key !== "").slice(-20);
  const again = keyed.map(async (task) => {
    const first = await outcomeOf(executeAgain(client, task));
    const before = task.accepted.kind === "acknowledged" ? task.accepted : first;
    violations.unless(
      Bun.deepEquals(first, before),
      () => `"${task.op}" again gave ${JSON.stringify(first)}; at first ${JSON.stringify(task.accepted)}`,
    );
  });
  await Promise.all(again);
  return again.length;
}

/** Waits until every task has ended. Gives how long that took, milliseconds. */
export async function waitForEnds(client: Client, violations: Violations): Promise<number> {
  const begin = performance.now();
  for (;;) {
    const open = (await allTasks(client, violations)).filter(({ state }) => !isEnd(state));
    const tookMs = performance.now() - begin;
    if (open.length === 0) return tookMs;
    if (tookMs > endWithinMs) {
      const [one] = open;
      violations.add(`${open.length} tasks never end, such as ${one?.id}: ${one?.state} ${one?.stateReason}`);
      return tookMs;
    }
    await Bun.sleep(200);
  }
}

const endWithinMs = 60_000;

function checkKnown(known: KnownTask, rows: readonly Task[], violations: Violations): void {
  const { op, accepted, ended } = known;
  violations.unless(rows.length <= 1, () => `${op} was accepted ${rows.length} times`);
  const [row] = rows;
  if (accepted.kind === "acknowledged")
    violations.unless(row?.id === accepted.id, () => `${op} (${accepted.id}) is lost`);
  if (row === undefined || ended === undefined) return;
  violations.unless(
    row.state === ended.state && (row.result?.exitCode ?? 0) === ended.exitCode,
    () =>
      `${op} ended as ${enumName(TaskStateSchema, ended.state)} with ${ended.exitCode} (its caller was told), and is ${enumName(TaskStateSchema, row.state)} with ${row.result?.exitCode}`,
  );
}

function checkStory(task: Task, story: TaskStory | undefined, violations: Violations): void {
  const { id, state, attempt } = task;
  violations.unless(story?.created === 1, () => `the log has task ${id} created ${story?.created} times`);
  if (story === undefined) return;
  const name = enumName(TaskStateSchema, state).toLowerCase();
  violations.unless(
    Bun.deepEquals(story.ends, isEnd(state) ? [name] : []),
    () => `the log has task ${id} ended as [${story.ends}]; it is ${name}`,
  );
  violations.unless(
    Bun.deepEquals(
      story.attempts,
      story.attempts.map((_, at) => at + 1),
    ) && story.attempts.length === attempt,
    () => `the log has attempts [${story.attempts}] of task ${id}; its row has ${attempt}`,
  );
  const most = 1 + Number(task.config?.maxRetries ?? 0n);
  violations.unless(story.begun <= most, () => `task ${id} began ${story.begun} times; ${most} are allowed`);
}

/** None that its caller knows to have ended is begun after that. */
function checkRunAgain({ known, begun }: TaskLoad, violations: Violations): void {
  const endedAt = new Map<string, number>();
  for (const { accepted, ended } of known)
    if (accepted.kind === "acknowledged" && ended !== undefined) endedAt.set(accepted.id, ended.at);
  for (const { taskId, at } of begun) {
    const end = endedAt.get(taskId) ?? Number.POSITIVE_INFINITY;
    violations.unless(at <= end, () => `task ${taskId} was begun ${at - end} ms after its end was told`);
  }
}

async function allTasks(client: Client, violations: Violations): Promise<readonly Task[]> {
  const rows: Task[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.agent.listTasks({ pageToken });
    rows.push(...page.tasks);
    pageToken = page.nextPageToken;
    if (pageToken !== "") continue;
    violations.unless(
      rows.length === page.totalCount || openOf(rows) > 0,
      () => `there are ${rows.length} tasks, and total_count says ${page.totalCount}`,
    );
    return rows;
  }
}

/** How many are still on their way, so that a count may have changed between two pages. */
function openOf(rows: readonly Task[]): number {
  return rows.filter(({ state }) => !isEnd(state)).length;
}

const ends: ReadonlySet<TaskState> = new Set([
  TaskState.COMPLETED,
  TaskState.FAILED,
  TaskState.CANCELLED,
  TaskState.TIMEOUT,
]);

function isEnd(state: TaskState): boolean {
  return ends.has(state);
}
