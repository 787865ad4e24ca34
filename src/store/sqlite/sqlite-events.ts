import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import type { Instant, LogEvent, NewEvent, Position } from "../../events/event.ts";
import type { EventFilter } from "../../events/filter.ts";
import type { EventStorage } from "../../events/storage.ts";
import { labelTerms } from "./query.ts";
import { decodeRow, encodeRow } from "./row-codec.ts";
import { sqliteFailure } from "./sqlite-failures.ts";

/** How many positions one read looks through: bounds the time in which a rare filter holds the event loop. */
const scanWindow = 20_000;

/** How much text one trim removes: bounds the time in which it holds the event loop. */
const trimBytes = 16_000_000;

/** How many positions a clock that was set back may have put out of the order of time, for a search by time to be exact. */
const clockSlack = 1_000;

/** The events table: written inside the store's transaction, read by the log. */
export class SqliteEvents implements EventStorage {
  readonly epoch: string;
  readonly #database: Database;
  readonly #insert: Statement;
  readonly #listeners = new Set<(events: readonly LogEvent[]) => void>();
  #head: Position;
  #tail: Position;
  /** The bytes that all events up to the newest one have taken, those that were trimmed among them. */
  #endsAt: number;
  /** The same with those that are being committed; whoever rolls a commit back sets it back. */
  end: number;

  constructor(database: Database) {
    this.#database = database;
    this.#insert = database.query(insertSql);
    const meta = database
      .query<{ value: string }, []>("SELECT value FROM meta WHERE \"key\" = 'epoch'")
      .get();
    this.epoch = meta?.value ?? "";
    // The newest event is never trimmed, so an empty table is one that never had any.
    const bounds = database
      .query<{ head: number | null; tail: number | null }, []>(
        "SELECT (SELECT min(position) FROM events) AS head, (SELECT max(position) FROM events) AS tail",
      )
      .get();
    this.#head = bounds?.head ?? 1;
    this.#tail = bounds?.tail ?? 0;
    this.#endsAt = this.#endOfAll();
    this.end = this.#endsAt;
  }

  get tail(): Position {
    return this.#tail;
  }

  get head(): Position {
    return this.#head;
  }

  /** Writes one event at `position`; the caller holds the transaction, and calls `published` after its commit. */
  insert(position: Position, event: NewEvent): LogEvent {
    const entry: LogEvent = { ...event, position, id: Bun.randomUUIDv7() };
    const labels = event.labels === undefined ? null : JSON.stringify(event.labels);
    // The labels have their column, which a search needs; with a session's 64 of them they are most of an event.
    const body = encodeRow(labels === null ? entry : { ...entry, labels: undefined }, "none");
    const startsAt = this.end;
    this.end += textBytes({ body, labels });
    this.#insert.run(
      position,
      event.at,
      event.type,
      event.source,
      event.priority ?? "normal",
      event.sessionId ?? null,
      event.containerId ?? null,
      event.taskId ?? null,
      event.agentId ?? null,
      labels,
      startsAt,
      body,
    );
    return entry;
  }

  /** Tells the listeners what a commit has added. */
  published(events: readonly LogEvent[]): void {
    const last = events.at(-1);
    if (last === undefined) return;
    this.#endsAt = this.end;
    this.#tail = last.position;
    for (const listener of this.#listeners) listener(events);
  }

  onAppend(listener: (events: readonly LogEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async read(options: {
    readonly after: Position;
    readonly filter: EventFilter;
    readonly limit: number;
    readonly maxBytes?: number;
  }): Promise<{ readonly events: readonly LogEvent[]; readonly scannedTo: Position }> {
    const { maxBytes = Number.POSITIVE_INFINITY } = options;
    const upTo = Math.min(this.#tail, options.after + scanWindow);
    const { text, values } = filterTerms(options.filter);
    const terms = ["position > ?", "position <= ?", ...text].join(" AND ");
    try {
      const rows = this.#database
        .query<{ body: string; labels: string | null }, SQLQueryBindings[]>(
          `SELECT body, labels FROM events WHERE ${terms} ORDER BY position LIMIT ?`,
        )
        .iterate(options.after, upTo, ...values, options.limit);
      const events: LogEvent[] = [];
      let bytes = 0;
      for (const row of rows) {
        bytes += textBytes(row);
        const event = eventOf(row);
        events.push(event);
        if (events.length === options.limit || bytes >= maxBytes)
          return { events, scannedTo: event.position };
      }
      return { events, scannedTo: upTo };
    } catch (error) {
      throw sqliteFailure(error, "read the event log");
    }
  }

  async positionBefore(time: Instant): Promise<Position> {
    try {
      const found = this.#database
        .query<{ position: number }, [number]>(
          "SELECT position FROM events WHERE at >= ? ORDER BY at, position LIMIT 1",
        )
        .get(time)?.position;
      if (found === undefined) return this.#tail;
      const earlier = this.#database
        .query<{ position: number | null }, [number, number, number]>(
          "SELECT min(position) AS position FROM events WHERE position >= ? AND position < ? AND at >= ?",
        )
        .get(found - clockSlack, found, time)?.position;
      return (earlier ?? found) - 1;
    } catch (error) {
      throw sqliteFailure(error, "read the event log");
    }
  }

  async positionKeeping(bytes: number): Promise<Position> {
    try {
      return this.#firstFrom(this.#endsAt - bytes) - 1;
    } catch (error) {
      throw sqliteFailure(error, "read the event log");
    }
  }

  /** Removes at most `limit` of the oldest events, those before `before`; the newest one stays. Of large ones, fewer. */
  trim(before: Position, limit: number): number {
    const most = Math.min(before, this.#head + limit, this.#tail);
    if (most <= this.#head) return 0;
    const upTo = Math.min(
      most,
      Math.max(this.#firstFrom(this.#startOf(this.#head) + trimBytes), this.#head + 1),
    );
    this.#database.query("DELETE FROM events WHERE position < ?").run(upTo);
    const removed = upTo - this.#head;
    this.#head = upTo;
    return removed;
  }

  /** The first event whose text begins at `start` of all the log's or later; the place behind the newest if none does. */
  #firstFrom(start: number): Position {
    let low = this.#head;
    let high = this.#tail + 1;
    // Positions have no holes, so they can be halved.
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#startOf(middle) >= start) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #startOf(position: Position): number {
    return (
      this.#database
        .query<{ startsAt: number }, [number]>("SELECT startsAt FROM events WHERE position = ?")
        .get(position)?.startsAt ?? 0
    );
  }

  /** Where the newest event ends. */
  #endOfAll(): number {
    const newest = this.#database
      .query<{ startsAt: number; body: string; labels: string | null }, []>(
        "SELECT startsAt, body, labels FROM events ORDER BY position DESC LIMIT 1",
      )
      .get();
    return newest === null ? 0 : newest.startsAt + textBytes(newest);
  }
}

const insertSql =
  "INSERT INTO events (position, at, type, source, priority, sessionId, containerId, taskId, agentId, labels, startsAt, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

function eventOf({ body, labels }: { readonly body: string; readonly labels: string | null }): LogEvent {
  const event = decodeRow(body) as LogEvent; // insert() is the only writer
  return labels === null ? event : { ...event, labels: JSON.parse(labels) };
}

/** The bytes that an event's text takes in the file: what retention by size counts. */
function textBytes({ body, labels }: { readonly body: string; readonly labels: string | null }): number {
  return Buffer.byteLength(body) + (labels === null ? 0 : Buffer.byteLength(labels));
}

function filterTerms(filter: EventFilter): { text: string[]; values: SQLQueryBindings[] } {
  const { text, values } = labelTerms(filter.labels ?? {});
  for (const name of ["source", "sessionId", "containerId", "taskId", "agentId", "priority"] as const) {
    const wanted = filter[name];
    if (wanted === undefined) continue;
    text.push(`${name} = ?`);
    values.push(wanted);
  }
  if (filter.types !== undefined && filter.types.length > 0) {
    const types = [...new Set(filter.types)];
    text.push(`type IN (${types.map(() => "?").join(", ")})`);
    values.push(...types);
  }
  if (filter.startTime !== undefined) {
    text.push("at >= ?");
    values.push(filter.startTime);
  }
  if (filter.endTime !== undefined) {
    text.push("at < ?");
    values.push(filter.endTime);
  }
  return { text, values };
}
