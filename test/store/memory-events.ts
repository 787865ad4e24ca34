import type { Instant, LogEvent, NewEvent, Position } from "../../src/events/event.ts";
import { type EventFilter, matches } from "../../src/events/filter.ts";
import type { EventStorage } from "../../src/events/storage.ts";
import type { MemoryDisk } from "./memory-store.ts";

/** The log of a memory store. */
export class MemoryEvents implements EventStorage {
  readonly #disk: MemoryDisk;
  readonly #listeners = new Set<(events: readonly LogEvent[]) => void>();

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  get epoch(): string {
    return this.#disk.epoch;
  }

  get tail(): Position {
    return this.#disk.tail;
  }

  get head(): Position {
    return this.#disk.tail - this.#disk.events.length + 1;
  }

  append(events: readonly NewEvent[]): void {
    if (events.length === 0) return;
    const { tail } = this.#disk;
    const added = events.map((event, index) => ({
      ...event,
      position: tail + index + 1,
      id: Bun.randomUUIDv7(),
    }));
    this.#disk.events.push(...added);
    this.#disk.tail += added.length;
    for (const listener of this.#listeners) listener(added);
  }

  onAppend(listener: (events: readonly LogEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async read({
    after,
    filter,
    limit,
    maxBytes = Number.POSITIVE_INFINITY,
  }: {
    readonly after: Position;
    readonly filter: EventFilter;
    readonly limit: number;
    readonly maxBytes?: number;
  }) {
    const events: LogEvent[] = [];
    let bytes = 0;
    for (const event of this.#disk.events.slice(Math.max(0, after + 1 - this.head))) {
      if (!matches(event, filter)) continue;
      bytes += textBytes(event);
      events.push(event);
      if (events.length === limit || bytes >= maxBytes) return { events, scannedTo: event.position };
    }
    return { events, scannedTo: this.tail };
  }

  async positionKeeping(bytes: number): Promise<Position> {
    let left = bytes;
    for (const event of this.#disk.events.toReversed()) {
      left -= textBytes(event);
      if (left < 0) return event.position;
    }
    return this.head - 1;
  }

  async positionBefore(time: Instant): Promise<Position> {
    return (this.#disk.events.find(({ at }) => at >= time)?.position ?? this.tail + 1) - 1;
  }

  trim(before: Position, limit: number): number {
    const removed = Math.max(0, Math.min(before - this.head, limit, this.#disk.events.length - 1));
    this.#disk.events.splice(0, removed);
    return removed;
  }
}

function textBytes(event: LogEvent): number {
  return Buffer.byteLength(JSON.stringify(event));
}
