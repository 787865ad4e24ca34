import type { Instant } from "../events/event.ts";
import { type Counter, counterTable } from "../store/counters.ts";
import { changed, type Decision } from "../store/store.ts";
import type { Table } from "../store/table.ts";
import {
  type Activity,
  activityTable,
  openSessions,
  type Session,
  type SessionId,
  sessionTable,
} from "./session.ts";

/** What another part has going on in sessions: one row for each, which is not there while nothing does. */
export interface SessionWork {
  // biome-ignore lint/suspicious/noExplicitAny: whoever gives the table gives `end` for its rows
  readonly table: Table<any>;
  /** How it ends with its session. Its events stand before the session's; the result is called when all of it is durable. */
  readonly end: (row: unknown, session: Session, at: Instant) => Decision<() => void>;
}

/** What is known of a session when its end is decided on. */
export interface LoadedSession {
  readonly session: Session | undefined;
  readonly activity: Activity | undefined;
  readonly open: Counter | undefined;
}

/** What is loaded for that. */
export function sessionWithWork(id: SessionId, work: SessionWork) {
  return {
    session: { table: sessionTable, key: id },
    activity: { table: activityTable, key: id },
    open: { table: counterTable, key: openSessions },
    work: { table: work.table, key: id },
  };
}

/** The decision, and where it begins the end of the session, also what becomes of the work in it. */
export function withItsWork<Ended extends Session | undefined>(
  decision: Decision<Ended>,
  before: {
    readonly session: Session | undefined;
    readonly work: unknown;
    readonly end: SessionWork["end"];
    readonly at: Instant;
  },
): Decision<{ readonly result: Ended; readonly done: () => void }> {
  const { result, rows, events } = decision;
  const { session, work, end, at } = before;
  if (session?.life.state !== "active" || (result?.life.state ?? "active") === "active")
    return changed({ result, done: () => {} }, rows, events);
  const ended = end(work, session, at);
  return changed({ result, done: ended.result }, [...ended.rows, ...rows], [...ended.events, ...events]);
}
