import type { Client } from "../../src/client/client.ts";
import { watch } from "../../src/client/watch.ts";
import {
  type Event,
  type EventType,
  EventTypeSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "./enum-name.ts";
import type { Violations } from "./violations.ts";

/** What is kept of an event. */
export interface Recorded {
  readonly position: number;
  readonly cursor: string;
  readonly id: string;
  readonly type: EventType;
  readonly sessionId: string;
  readonly containerId: string;
  readonly taskId: string;
  readonly data: Readonly<Record<string, string>>;
}

/** A subscriber that follows the whole log from its first event, over all crashes, and keeps what it gets. */
export class EventRecord implements AsyncDisposable {
  readonly events: Recorded[] = [];
  /** How often it was cut off. */
  interruptions = 0;
  readonly #violations: Violations;
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #moved = Promise.withResolvers<void>();
  #failed: unknown;

  constructor(client: Client, violations: Violations) {
    this.#violations = violations;
    this.#following = this.#follow(client);
  }

  /** Waits until it has come as far as `cursor`. Throws when that takes longer than `withinMs`. */
  async reaches(cursor: string, withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (this.events.length < positionOf(cursor)) {
      if (this.#failed !== undefined) throw this.#failed;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) {
        this.#violations.add(
          `the subscriber has ${this.events.length} events ${withinMs} ms after ${cursor}`,
        );
        return;
      }
      await Promise.race([this.#moved.promise, Bun.sleep(leftMs)]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  async #follow(client: Client): Promise<void> {
    const { signal } = this.#stop;
    const onInterrupted = () => {
      this.interruptions += 1;
    };
    try {
      for await (const event of watch(client, { fromStart: true, signal, onInterrupted })) this.#take(event);
    } catch (error) {
      if (!signal.aborted) {
        this.#violations.add(`the subscriber ended: ${error instanceof Error ? error.message : error}`);
        this.#failed = error;
      }
    }
    this.#moved.resolve();
  }

  #take(event: Event): void {
    const recorded = recordedOf(event);
    const expected = this.events.length + 1;
    if (recorded.position !== expected) {
      this.#violations.add(
        `event ${recorded.position} (${enumName(EventTypeSchema, event.type)}) came where ${expected} was due: a hole or a repeat`,
      );
    }
    this.events.push(recorded);
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }
}

export function recordedOf(event: Event): Recorded {
  return {
    position: positionOf(event.cursor),
    cursor: event.cursor,
    id: event.id,
    type: event.type,
    sessionId: event.metadata?.sessionId ?? "",
    containerId: event.metadata?.containerId ?? "",
    taskId: event.metadata?.taskId ?? "",
    data: event.data,
  };
}

/** Cursors are opaque to clients; that theirs is a sequence number is what is tested here. */
function positionOf(cursor: string): number {
  return Number(/-(\d+)$/.exec(cursor)?.[1]);
}
