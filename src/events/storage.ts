import type { Instant, LogEvent, Position } from "./event.ts";
import type { EventFilter } from "./filter.ts";

/** What the log needs of a store. Every store of `store/store.ts` has one. */
export interface EventStorage {
  /** Made with the database; a cursor of another epoch means nothing here. */
  readonly epoch: string;
  /** The position of the newest event, 0 when there was none yet. */
  readonly tail: Position;
  /** The position of the oldest event that retention has kept; `tail + 1` when it has kept none. */
  readonly head: Position;

  /**
   * The events after `after` that match `filter`, oldest first, at most `limit` of them, and the position up to which the
   * log was looked through: read on from there. `scannedTo` is `tail` when nothing is left. It ends early, but not before
   * its first event, when the text of its events comes to `maxBytes`.
   */
  read(options: {
    readonly after: Position;
    readonly filter: EventFilter;
    readonly limit: number;
    readonly maxBytes?: number;
  }): Promise<{ readonly events: readonly LogEvent[]; readonly scannedTo: Position }>;

  /**
   * The position just before the first event at or after `time`; where the clock was set back, some events from before
   * that may be left out.
   */
  positionBefore(time: Instant): Promise<Position>;

  /**
   * The position just before the oldest of the newest events whose text, labels and all, takes at most `bytes` together;
   * `tail` when not even the newest does.
   */
  positionKeeping(bytes: number): Promise<Position>;

  /** Calls `listener` with what each commit added, after it is durable and in the log's order. Returns the way to stop. */
  onAppend(listener: (events: readonly LogEvent[]) => void): () => void;
}
