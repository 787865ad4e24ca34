import type { Instant } from "../events/event.ts";
import {
  activityAt,
  activityTable,
  type Session,
  type SessionId,
  sessionTable,
} from "../sessions/session.ts";
import { changed, put, type RowChange, type Store, unchanged } from "../store/store.ts";
import type { Task, TaskId } from "./task.ts";
import {
  type Census,
  censusRow,
  censusTable,
  counted,
  knownTask,
  type TaskSource,
  taskEvent,
  taskTable,
} from "./task-rows.ts";
import type { Step } from "./task-rules.ts";

/** Who changes a task, and what for. */
export interface Changing {
  readonly source: TaskSource;
  readonly actor: string;
  readonly correlationId: string;
  /** For messages: `cancel task`. */
  readonly doing: string;
}

/** What a change has come to; both are the same when nothing has changed. */
export interface TaskChange {
  readonly before: Task;
  readonly after: Task;
}

export interface TaskChangesOptions {
  readonly store: Store;
  readonly clock: () => Instant;
  /** As SessionsOptions has it. Milliseconds. */
  readonly noticeMs: number;
  /** Hears of every change of a task when it is durable, in the order of the log. */
  readonly onChanged: (change: TaskChange) => void;
  /** How much output a task has, where that is known better than its row does. */
  readonly outputOf: (id: TaskId) => { readonly total: number; readonly kept: number } | undefined;
}

/** Moves tasks: the pure rules decide, and the row, the census, the session's activity and the events are one commit. */
export class TaskChanges {
  readonly #options: TaskChangesOptions;

  constructor(options: TaskChangesOptions) {
    this.#options = options;
  }

  /**
   * Lets `step` decide what becomes of a task, knowing its session, and makes it so.
   *
   * Failures: NOT_FOUND, and the store's.
   */
  async move(
    task: Pick<Task, "id" | "sessionId">,
    step: (task: Task, at: Instant, session: Session | undefined) => Step,
    changing: Changing & {
      /** What is saved along with it, if it is moved. */
      readonly rows?: (after: Task) => readonly RowChange[];
    },
  ): Promise<TaskChange> {
    const { store, clock } = this.#options;
    const at = clock();
    const change = await store.change(loadsOf(task), (loaded): ReturnType<typeof moved> => {
      const before = knownTask(loaded.task, { id: task.id, doing: changing.doing });
      const { task: next, told } = step(before, at, loaded.session);
      if (next === before) return unchanged({ before, after: before });
      const output = this.#options.outputOf(task.id);
      const after =
        output === undefined ? next : { ...next, outputBytes: output.total, outputKeptBytes: output.kept };
      return moved({ ...loaded, before, after, told, at, changing, noticeMs: this.#options.noticeMs });
    });
    if (change.after !== change.before) this.#options.onChanged(change);
    return change;
  }
}

function loadsOf({ id, sessionId }: Pick<Task, "id" | "sessionId">) {
  const session = sessionId === "" ? undefined : sessionId;
  return {
    task: { table: taskTable, key: id },
    session: { table: sessionTable, key: session },
    activity: { table: activityTable, key: session },
    census: { table: censusTable, key: censusRow },
  } as const;
}

function moved(
  move: Parameters<typeof rowsOfMove>[0] & {
    readonly told: Step["told"];
    readonly changing: Changing & { readonly rows?: (after: Task) => readonly RowChange[] };
  },
) {
  const { before, after, told, at, session, changing } = move;
  const about = { ...changing, at, session };
  return changed(
    { before, after },
    [...rowsOfMove(move), ...(changing.rows?.(after) ?? [])],
    told.map((one) => taskEvent(after, one, about)),
  );
}

function rowsOfMove(move: {
  readonly before: Task;
  readonly after: Task;
  readonly at: Instant;
  readonly noticeMs: number;
  readonly census: Census | undefined;
  readonly session: Parameters<typeof activityAt>[0] | undefined;
  readonly activity: Parameters<typeof activityAt>[2]["before"];
}): readonly RowChange[] {
  const { before, after, at, session, activity, noticeMs } = move;
  const census = counted(move.census, before, after);
  const isUse = session?.life.state === "active" && before.life.state !== after.life.state;
  return [
    put(taskTable, after),
    ...(census === undefined ? [] : [put(censusTable, census)]),
    // What becomes of its tasks is use of a session.
    ...(isUse ? [put(activityTable, activityAt(session, at, { before: activity, noticeMs }))] : []),
    // A session that is closed is not used any more; what it says of its tasks has changed all the same.
    ...(!isUse && activity !== undefined ? [put(activityTable, { ...activity })] : []),
  ];
}

/** The id as one of a session's; empty for none. */
export function sessionIdOf(task: Pick<Task, "sessionId">): SessionId | undefined {
  return task.sessionId === "" ? undefined : (task.sessionId as SessionId); // it was checked against the sessions' rows
}

/** A change that no client asked for. */
export function systemChange(doing: string) {
  return { source: "tasks", actor: "system", correlationId: Bun.randomUUIDv7(), doing } as const;
}
