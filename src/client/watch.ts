import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import {
  type Event,
  type EventFilter,
  EventFilterSchema,
  EventType,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { backoffMs, pause } from "./backoff.ts";
import type { Headers } from "./call-options.ts";
import type { Client } from "./client.ts";
import { isUnreachable } from "./connection.ts";
import { STREAM_NOT_READ } from "./status-failure.ts";

export interface WatchOptions {
  /** Which events; all of them without it. */
  readonly filter?: MessageInitShape<typeof EventFilterSchema>;
  /** Begins behind this cursor instead of now. */
  readonly resumeAfter?: string;
  /** Begins with the oldest event that the log still has. */
  readonly fromStart?: boolean;
  /** Milliseconds without an event after which a BOOKMARK is given, at least 100; without it none are given. */
  readonly bookmarkIntervalMs?: number;
  readonly signal?: AbortSignal;
  /** Told when the watch is in force: when it has `begun`, and when it `goes on` after each interruption since. */
  readonly onStarted?: (how: "begun" | "goes on") => void;
  /** Told why the watch was interrupted, and in how many milliseconds it is resumed. */
  readonly onInterrupted?: (failure: Failure, resumeInMs: number) => void;
}

/**
 * The log's events, each once and in order, over lost connections and restarts of the server: it resumes by itself
 * behind the last event that it has given, `reconnect.maxAttempts` times in a row (0: without end).
 *
 * Failures: OUT_OF_RANGE when what follows the cursor is not in the log any more, because only the caller can say what a
 * gap means to it; UNAVAILABLE with the reason UNREACHABLE when there was no server to begin with; CANCELLED.
 *
 * @example
 * for await (const event of watch(client, { filter: { sessionId }, signal })) {
 *   await handle(event);
 *   await remember(event.cursor); // give it as `resumeAfter` after a crash
 * }
 */
export async function* watch(
  client: Client,
  options: WatchOptions = {},
): AsyncGenerator<Event, void, undefined> {
  const place = new Place(options);
  for (let failures = 0; ; ) {
    try {
      for await (const event of subscribe(client, options, place)) {
        failures = 0;
        if (event.type !== EventType.BOOKMARK || options.bookmarkIntervalMs !== undefined) yield event;
      }
      return; // the server has come to the filter's end_time
    } catch (error) {
      const failure = Failure.from(error);
      failures += 1;
      if (failure === undefined || !isInterruption(failure, place)) throw error;
      if (client.reconnect.maxAttempts > 0 && failures > client.reconnect.maxAttempts) throw error;
      place.told(failure);
      const ms = backoffMs(failures, { maxMs: client.reconnect.intervalMs, random: Math.random() });
      const resumeInMs = Math.max(ms, failure.details.retryAfterMs ?? 0);
      options.onInterrupted?.(failure, resumeInMs);
      await pause(resumeInMs, options.signal);
    }
  }
}

/** Frequent enough that an idle watch seldom has to go back over much of the log, and that attempts are forgotten. */
const BOOKMARK_INTERVAL_MS = 30_000;

/** The response header with the cursor at which a subscription began. */
const CURSOR_HEADER = "x-baaaht-cursor";

/** One subscription, from where `place` says to its end. */
async function* subscribe(
  client: Client,
  options: WatchOptions,
  place: Place,
): AsyncGenerator<Event, void, undefined> {
  await using events = client.orchestrator.subscribeEvents(
    {
      ...place.request(),
      bookmarkIntervalNs: BigInt(Math.ceil((options.bookmarkIntervalMs ?? BOOKMARK_INTERVAL_MS) * 1e6)),
    },
    {
      ...(options.signal && { signal: options.signal }),
      ...(place.begun && { waitForReady: false }), // the pauses between attempts are ours
    },
  );
  const headers = await events.started();
  const how = place.begun ? "goes on" : "begun";
  place.started(headers);
  options.onStarted?.(how);
  for await (const event of events) {
    place.passed(event);
    yield event;
  }
}

/** Whether the watch can go on behind what it has given. */
function isInterruption(failure: Failure, place: Place): boolean {
  if (failure.kind === "unavailable") return place.begun || !isUnreachable(failure);
  const { reason, metadata } = failure.details;
  if (failure.kind !== "resource_exhausted") return false;
  return metadata?.cursor !== undefined || (place.begun && reason === STREAM_NOT_READ);
}

/** How far a watch has come in the log. */
class Place {
  /** Whether a subscription was in force before. */
  begun = false;
  readonly #filter: EventFilter;
  readonly #fromStart: boolean;
  #cursor: string;

  constructor(options: WatchOptions) {
    this.#filter = create(EventFilterSchema, options.filter);
    this.#fromStart = options.fromStart ?? false;
    this.#cursor = options.resumeAfter ?? "";
  }

  request() {
    if (this.#cursor === "") return { filter: this.#filter, fromStart: this.#fromStart };
    const { startTime: _, ...filter } = this.#filter; // a subscription begins at a cursor or at a time
    return { filter, resumeAfter: this.#cursor };
  }

  started(headers: Headers): void {
    this.begun = true;
    // What a start_time leaves out lies behind this cursor too: until the first event, the time says more.
    if (this.#cursor === "" && this.#filter.startTime === undefined)
      this.#cursor = headers.get(CURSOR_HEADER) ?? "";
  }

  passed(event: Event): void {
    const early =
      event.type === EventType.BOOKMARK && this.#cursor === "" && this.#filter.startTime !== undefined;
    if (event.cursor !== "" && !early) this.#cursor = event.cursor;
  }

  /**
   * The server's own cursor is of what it has sent, of which the last part may not have arrived: it counts only when
   * nothing better is known.
   */
  told(failure: Failure): void {
    if (this.#cursor === "" && !this.#fromStart && this.#filter.startTime === undefined) {
      this.#cursor = failure.details.metadata?.cursor ?? "";
    }
  }
}
