import { Failure } from "../failure.ts";
import {
  type Activity,
  activeSession,
  activityAt,
  activityTable,
  type Session,
} from "../sessions/session.ts";
import { type Answer, answered, answerOf, answerTable, type OnceKey } from "../store/answers.ts";
import { changed, type Decision, put, unchanged } from "../store/store.ts";
import type { Task, TaskId } from "./task.ts";
import { type Census, censusTable, counted, inputDataRow, taskEvent, taskTable } from "./task-rows.ts";
import type { Told } from "./task-rules.ts";

/** The new task's id, or that of the one that the same request has made before. */
export function acceptTask(
  loaded: {
    readonly session: Session | undefined;
    readonly activity: Activity | undefined;
    readonly answer: Answer | undefined;
    readonly census: Census | undefined;
  },
  accept: {
    readonly task: Task;
    readonly told: readonly Told[];
    readonly inputData: Uint8Array;
    readonly once: OnceKey | undefined;
    readonly at: number;
    readonly actor: string;
    readonly correlationId: string;
    readonly noticeMs: number;
    readonly isFull: boolean;
    readonly limits: { readonly maxQueued: number };
  },
): Decision<TaskId> {
  const { task, told, once, at, noticeMs, inputData } = accept;
  // What was accepted is answered also when the session has been closed since.
  const before = once && answered(loaded.answer, once, at);
  if (before !== undefined) return unchanged(before as TaskId); // answers of this kind are made below, from an id
  const session =
    task.sessionId === ""
      ? undefined
      : activeSession(loaded.session, { id: task.sessionId, doing: "execute a task in session" });
  if (accept.isFull && task.life.state === "queued") throw tooMany(accept.limits.maxQueued);
  const census = counted(loaded.census, undefined, task);
  return changed(
    task.id,
    [
      put(taskTable, task),
      ...(census === undefined ? [] : [put(censusTable, census)]),
      ...(inputData.byteLength === 0 ? [] : [inputDataRow(task.id, inputData)]),
      ...(session === undefined
        ? []
        : [put(activityTable, activityAt(session, at, { before: loaded.activity, noticeMs }))]),
      ...(once ? [put(answerTable, answerOf(once, task.id, at))] : []),
    ],
    told.map((one) => taskEvent(task, one, { ...accept, source: "agent.grpc", session })),
  );
}

function tooMany(most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot execute a task: ${most} tasks wait for an agent, which is the most`,
    { reason: "TOO_MANY_TASKS", metadata: { limit: String(most) }, retryAfterMs: 1_000 },
  );
}
