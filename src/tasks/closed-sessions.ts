import type { Background } from "../background.ts";
import type { Instant } from "../events/event.ts";
import type { Session } from "../sessions/session.ts";
import type { Store } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import { OwedMoves } from "./owed-moves.ts";
import { openStates, type Task } from "./task.ts";
import { systemChange, type TaskChanges } from "./task-changes.ts";
import { censusRow, censusTable, kindsOf, taskTable } from "./task-rows.ts";
import { cancelTask, type Step, type TaskPolicy } from "./task-rules.ts";

/** Sessions that take no more work: the tasks that they have asked for are given up. */
export class ClosedSessions {
  readonly #store: Store;
  readonly #background: Background;
  readonly #policy: TaskPolicy;
  readonly #owed: OwedMoves;

  constructor(parts: {
    readonly store: Store;
    readonly changes: TaskChanges;
    readonly background: Background;
    readonly policy: TaskPolicy;
  }) {
    this.#store = parts.store;
    this.#background = parts.background;
    this.#policy = parts.policy;
    this.#owed = new OwedMoves(parts.changes, parts.background);
  }

  /** Gives up the tasks of a session, those too that the store refuses to change at first. */
  giveUp(sessionId: string, session: Session | undefined): void {
    this.#background.start("give up the tasks of a closed session", async (signal) => {
      const census = await this.#store.get(censusTable, censusRow);
      const where = { sessionId, kind: openStates.flatMap((state) => kindsOf(census, { state })) };
      const step = (task: Task, at: Instant) => endWithSession(task, { session, at, policy: this.#policy });
      let after: PagePlace | undefined;
      do {
        const page = await this.#store.list(taskTable, { where, limit: 500, after });
        for (const task of page.rows) this.#owed.add({ task, step, changing: systemChange("cancel task") });
        after = page.next;
      } while (after !== undefined && !signal.aborted);
    });
  }
}

/** Whether a task is of a session that takes no more work. */
export function isOfClosed(task: Task, session: Session | undefined): boolean {
  return task.sessionId !== "" && session?.life.state !== "active";
}

/** Its session takes no more work: it is given up, as if somebody had cancelled it. */
export function endWithSession(
  task: Task,
  end: { readonly session: Session | undefined; readonly at: Instant; readonly policy: TaskPolicy },
): Step {
  const { session, at, policy } = end;
  const why = session !== undefined && "reason" in session.life ? session.life.reason : "";
  const reason = why === "" ? "its session was closed" : `its session was closed: ${why}`;
  return cancelTask(task, { reason, by: "system", how: "graceful", at, policy });
}
