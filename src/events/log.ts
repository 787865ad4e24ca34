import { abortFailure } from "../failure.ts";
import { Bell } from "./bell.ts";
import { cursorOf, positionOf, tooOld } from "./cursor.ts";
import type { Instant, LogEvent, Position } from "./event.ts";
import { eventBytes } from "./event-size.ts";
import { type EventFilter, matches } from "./filter.ts";
import type { EventStorage } from "./storage.ts";

/** What a follower gets: an event, or word of how far it has come while nothing matched. */
export type LogItem =
  | { readonly kind: "event"; readonly event: LogEvent }
  | { readonly kind: "bookmark"; readonly position: Position; readonly at: Instant };

export interface Follow {
  /** The first event that comes is the first match after this. */
  readonly after: Position;
  readonly filter: EventFilter;
  readonly signal: AbortSignal;
  /** A bookmark after so many milliseconds without another item; none when absent. */
  readonly bookmarkEveryMs?: number | undefined;
}

/** Where a reader wants to begin. */
export type Beginning =
  | { readonly kind: "now" }
  | { readonly kind: "start" }
  | { readonly kind: "cursor"; readonly cursor: string; readonly field: string }
  | { readonly kind: "time"; readonly time: Instant };

/** How often a reader that waits for a time looks at the clock, in milliseconds. */
const lookEveryMs = 1_000;

/** How many events a reader takes at once, and how much of them: it holds these while nobody reads from it. */
const pageSize = 256;
const pageBytes = 256 * 1024;

interface EventLogOptions {
  readonly clock: () => Instant;
  /** How many of the newest events are kept in memory, at least, and twice as many at most. */
  readonly memoryCount: number;
  /** How many bytes they may take there, by `eventBytes`: fewer events are kept when they are large. */
  readonly memoryBytes: number;
}

/** An event that is kept in memory, with what it takes there. */
interface Recent {
  readonly event: LogEvent;
  readonly bytes: number;
}

/**
 * The one ordered log. Readers pull: one that doesn't read holds a position and nothing else, and is served from memory
 * while it is near the tail and from disk when it is behind.
 */
export class EventLog implements Disposable {
  readonly #storage: EventStorage;
  readonly #clock: () => Instant;
  readonly #memoryCount: number;
  readonly #memoryBytes: number;
  readonly #bells = new Set<Bell>();
  readonly #stop: () => void;
  /** The newest events, without holes, up to the tail. */
  #recent: Recent[] = [];
  #recentBytes = 0;

  constructor(storage: EventStorage, options: EventLogOptions) {
    this.#storage = storage;
    this.#clock = options.clock;
    this.#memoryCount = options.memoryCount;
    this.#memoryBytes = options.memoryBytes;
    this.#stop = storage.onAppend((events) => this.#append(events));
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  get tail(): Position {
    return this.#storage.tail;
  }

  /** How many readers follow it now. */
  get followers(): number {
    return this.#bells.size;
  }

  cursor(position: Position): string {
    return cursorOf(this.#storage.epoch, position);
  }

  /** The position after which `beginning` has its first event. Fails as `positionOf` does. */
  async positionAt(beginning: Beginning): Promise<Position> {
    switch (beginning.kind) {
      case "now":
        return this.#storage.tail;
      case "start":
        return this.#storage.head - 1;
      case "cursor":
        return positionOf(beginning.cursor, { field: beginning.field, storage: this.#storage });
      case "time":
        return await this.#storage.positionBefore(beginning.time);
    }
  }

  /**
   * The events after a position that match a filter, those of the past first, then live, without gap or repeat. Ends at
   * the filter's `endTime`; otherwise by the signal, whose reason it throws.
   *
   * Failures: OUT_OF_RANGE with the reason CURSOR_TOO_OLD when retention overtakes a reader that is behind.
   */
  async *follow({
    after,
    filter,
    signal,
    bookmarkEveryMs,
  }: Follow): AsyncGenerator<LogItem, void, undefined> {
    const bell = new Bell();
    this.#bells.add(bell);
    signal.addEventListener("abort", bell.ring, { once: true });
    try {
      let position = after;
      let toldAt = this.#clock();
      for (;;) {
        if (signal.aborted) throw abortFailure(signal);
        if (position < this.#storage.tail) {
          const batch = this.#recentAfter(position, filter) ?? (await this.#page(position, filter));
          for (const event of batch.events) {
            yield { kind: "event", event };
            if (signal.aborted) throw abortFailure(signal);
          }
          if (batch.events.length > 0) toldAt = this.#clock();
          position = batch.scannedTo;
          continue;
        }
        const now = this.#clock();
        if (filter.endTime !== undefined && now >= filter.endTime) return;
        // Either way: a clock that was set back must not silence the bookmarks.
        if (bookmarkEveryMs !== undefined && Math.abs(now - toldAt) >= bookmarkEveryMs) {
          toldAt = now;
          yield { kind: "bookmark", position, at: now };
          continue;
        }
        await bell.wait(untilNext({ now, toldAt, bookmarkEveryMs, endTime: filter.endTime }));
      }
    } finally {
      this.#bells.delete(bell);
      signal.removeEventListener("abort", bell.ring);
    }
  }

  /** The events after one position and up to another that match a filter, then ends. Fails as `follow` does. */
  async *between({
    after,
    upTo,
    filter,
    signal,
  }: Follow & { readonly upTo: Position }): AsyncGenerator<LogEvent, void, undefined> {
    let position = after;
    while (position < upTo) {
      if (signal.aborted) throw abortFailure(signal);
      const batch = this.#recentAfter(position, filter) ?? (await this.#page(position, filter));
      for (const event of batch.events) {
        if (event.position > upTo) return;
        yield event;
      }
      position = batch.scannedTo;
    }
  }

  /** From memory, if memory reaches back that far. At most `pageSize` events, of `pageBytes`, are looked at. */
  #recentAfter(
    position: Position,
    filter: EventFilter,
  ): { events: LogEvent[]; scannedTo: Position } | undefined {
    const oldest = this.#recent[0]?.event.position;
    if (oldest === undefined || position + 1 < oldest) return undefined;
    const start = position + 1 - oldest;
    const end = Math.min(start + pageSize, this.#recent.length);
    const events: LogEvent[] = [];
    let bytes = 0;
    let scannedTo = position;
    for (let index = start; index < end && bytes < pageBytes; index += 1) {
      const recent = this.#recent[index];
      if (recent === undefined) break;
      scannedTo += 1;
      if (!matches(recent.event, filter)) continue;
      events.push(recent.event);
      bytes += recent.bytes;
    }
    return { events, scannedTo };
  }

  async #page(position: Position, filter: EventFilter) {
    // Requests come first: a reader that has far to go must not hold up everybody.
    await new Promise((resolve) => setImmediate(resolve));
    const page = await this.#storage.read({ after: position, filter, limit: pageSize, maxBytes: pageBytes });
    // After the read: retention may have removed what it was to find.
    if (position + 1 < this.#storage.head) throw tooOld(this.cursor(position), this.#storage);
    return page;
  }

  #append(events: readonly LogEvent[]): void {
    for (const event of events) {
      const bytes = eventBytes(event);
      this.#recent.push({ event, bytes });
      this.#recentBytes += bytes;
    }
    if (this.#recent.length > this.#memoryCount * 2 || this.#recentBytes > this.#memoryBytes) this.#cut();
    for (const bell of this.#bells) bell.ring();
  }

  /** Seldom and by half, so that an append costs the same on average however much is kept. */
  #cut(): void {
    let first = this.#recent.length;
    let bytes = 0;
    while (first > 0 && this.#recent.length - first < this.#memoryCount) {
      const more = bytes + (this.#recent[first - 1]?.bytes ?? 0);
      if (more > this.#memoryBytes / 2) break;
      bytes = more;
      first -= 1;
    }
    this.#recent = this.#recent.slice(first);
    this.#recentBytes = bytes;
  }
}

function untilNext(state: {
  readonly now: Instant;
  readonly toldAt: Instant;
  readonly bookmarkEveryMs: number | undefined;
  readonly endTime: Instant | undefined;
}): number | undefined {
  const waits: number[] = [];
  if (state.bookmarkEveryMs !== undefined) waits.push(state.toldAt + state.bookmarkEveryMs - state.now);
  // Not longer than a clock that jumps may go unnoticed.
  if (state.endTime !== undefined) waits.push(Math.min(state.endTime - state.now, lookEveryMs));
  return waits.length === 0 ? undefined : Math.max(1, Math.min(...waits));
}
