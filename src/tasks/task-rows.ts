import type { NewEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { type Session, sessionEvent } from "../sessions/session.ts";
import { put, type RowChange } from "../store/store.ts";
import type { Table } from "../store/table.ts";
import { agentOf, isEnded, type Task, type TaskId } from "./task.ts";
import { dueAt, type Told } from "./task-rules.ts";

export const taskTable: Table<Task> = {
  name: "tasks",
  bigints: "none",
  key: (task) => task.id,
  columns: {
    state: (task) => task.life.state,
    sessionId: (task) => task.sessionId,
    agentId: agentOf,
    type: (task) => task.type,
    priority: (task) => task.priority,
    kind: (task) => censusKey(countedOf(task)),
    createdAt: (task) => task.createdAt,
    dueAt,
    endedAt: (task) => (isEnded(task) ? task.life.at : null),
  },
};

/** The large parts of a task, each in a row of its own: a change of state must not write them again. */
export interface TaskData {
  readonly taskId: TaskId;
  readonly kind: "input_data" | "result";
  /** Base64. */
  readonly data: string;
  /** Of a result: what it wrote, as text. */
  readonly outputText: string;
  readonly errorText: string;
}

export const taskDataTable: Table<TaskData> = {
  name: "task_data",
  bigints: "none",
  key: (row) => taskDataKey(row.taskId, row.kind),
  columns: {},
};

export function taskDataKey(taskId: TaskId, kind: TaskData["kind"]): string {
  return `${taskId}/${kind}`;
}

/** The row that keeps what a task was given to begin with. */
export function inputDataRow(taskId: TaskId, bytes: Uint8Array): RowChange {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  return put(taskDataTable, { taskId, kind: "input_data", data, outputText: "", errorText: "" });
}

/** How many tasks there are of each kind: counting rows would cost more with every row. One row. */
export interface Census {
  /** By `censusKey`; what is not there is 0. */
  readonly counts: Readonly<Record<string, number>>;
}

export const censusTable: Table<Census> = {
  name: "task_census",
  bigints: "none",
  key: () => censusRow,
  columns: {},
};

export const censusRow = "all";

/** Which tasks are counted together. */
export type Counted = Pick<Task, "type" | "priority"> & { readonly state: Task["life"]["state"] };

/** The census after a task has become another, has come, or has gone. */
export function counted(
  census: Census | undefined,
  before: Task | undefined,
  after: Task | undefined,
): Census | undefined {
  const from = before && censusKey(countedOf(before));
  const to = after && censusKey(countedOf(after));
  if (from === to) return undefined;
  const counts = { ...census?.counts };
  if (from !== undefined) counts[from] = (counts[from] ?? 0) - 1;
  if (to !== undefined) counts[to] = (counts[to] ?? 0) + 1;
  return { counts };
}

/** The kinds of tasks that match, where only these are asked for: values of the column `kind`. */
export function kindsOf(census: Census | undefined, wanted: Partial<Counted>): readonly string[] {
  return matching(census, wanted).map(([kind]) => kind);
}

/** How many tasks match, where only these are asked for. */
export function countOf(census: Census | undefined, wanted: Partial<Counted>): number {
  return matching(census, wanted).reduce((sum, [, count]) => sum + count, 0);
}

function matching(
  census: Census | undefined,
  wanted: Partial<Counted>,
): readonly (readonly [string, number])[] {
  return Object.entries(census?.counts ?? {}).filter(([key, count]) => {
    const [state, type, priority] = key.split("/");
    return (
      count > 0 &&
      (wanted.state === undefined || wanted.state === state) &&
      (wanted.type === undefined || wanted.type === type) &&
      (wanted.priority === undefined || wanted.priority === priority)
    );
  });
}

function countedOf({ life, type, priority }: Task): Counted {
  return { state: life.state, type, priority };
}

function censusKey({ state, type, priority }: Counted): string {
  return `${state}/${type}/${priority}`;
}

/** The task. Failures: NOT_FOUND when there is none. */
export function knownTask(
  task: Task | undefined,
  wanted: { readonly id: string; readonly doing: string },
): Task {
  if (task !== undefined) return task;
  throw new Failure("not_found", `Cannot ${wanted.doing} "${wanted.id}": there is no task with this id`, {
    reason: "TASK_NOT_FOUND",
    metadata: { task_id: wanted.id },
  });
}

/** The part that speaks in events that a call brought about, and the one that speaks of what the server found by itself. */
export type TaskSource = "agent.grpc" | "tasks";

/** The event for what has happened to a task. */
export function taskEvent(
  task: Task,
  told: Told,
  about: {
    readonly at: number;
    readonly source: TaskSource;
    readonly actor: string;
    readonly correlationId: string;
    readonly session: Session | undefined;
  },
): NewEvent {
  const { at, source, actor, correlationId, session } = about;
  const event = {
    ...{ type: told.type, source, at, actor, correlationId, taskId: task.id, data: told.data },
    ...(told.agentId === "" ? {} : { agentId: told.agentId }),
  };
  if (session !== undefined) return sessionEvent(session, event);
  return task.sessionId === "" ? event : { ...event, sessionId: task.sessionId };
}
