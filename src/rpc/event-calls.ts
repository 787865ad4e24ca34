import type { EventFilter } from "../events/filter.ts";
import type { Beginning, EventLog } from "../events/log.ts";
import { Failure, invalid } from "../failure.ts";
import type {
  OrchestratorService,
  SubscribeEventsRequest,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Handlers } from "./handlers.ts";
import { bookmarkEvent, encodedEvent, eventFilterOf } from "./wire-event.ts";
import { millisecondsOf } from "./wire-values.ts";

/** The response header with the cursor at which a subscription begins. */
export const cursorHeader = "x-baaaht-cursor";

/** Bookmarks can't be asked for more often than this, in milliseconds. */
const leastBookmarkMs = 100;

/** OrchestratorService's call that follows the log. */
export function eventCalls(log: EventLog): Handlers<typeof OrchestratorService> {
  return {
    subscribeEvents: async function* (request, call) {
      const filter = eventFilterOf(request.filter);
      const bookmarkEveryMs = bookmarkOf(request.bookmarkIntervalNs);
      let position = await log.positionAt(beginningOf(request, filter));
      call.onStalled = () => notRead(log.cursor(position));
      call.open({ [cursorHeader]: log.cursor(position) });
      for await (const item of log.follow({
        after: position,
        filter,
        signal: call.signal,
        bookmarkEveryMs,
      })) {
        if (item.kind === "bookmark") {
          position = item.position;
          yield bookmarkEvent(item, log.cursor(position));
        } else {
          // Before it is handed over: what was handed over reaches the client before the stream's end does.
          position = item.event.position;
          yield encodedEvent(item.event, log.cursor(position));
        }
      }
    },
  };
}

/** Where a subscription begins. Failures: INVALID_ARGUMENT when the request says it more than once. */
export function beginningOf(
  request: Pick<SubscribeEventsRequest, "resumeAfter" | "fromStart">,
  { startTime }: EventFilter,
): Beginning {
  const { resumeAfter, fromStart } = request;
  const given = [resumeAfter !== "", fromStart, startTime !== undefined].filter(Boolean).length;
  if (given > 1) {
    const description = "can't be given with another one of resume_after, from_start and filter.start_time";
    throw invalid("subscribe to events", [
      { field: resumeAfter === "" ? "from_start" : "resume_after", description },
    ]);
  }
  if (resumeAfter !== "") return { kind: "cursor", cursor: resumeAfter, field: "resume_after" };
  if (startTime !== undefined) return { kind: "time", time: startTime };
  return fromStart ? { kind: "start" } : { kind: "now" };
}

function bookmarkOf(ns: bigint): number | undefined {
  if (ns === 0n) return undefined;
  return Math.max(leastBookmarkMs, millisecondsOf(ns, "bookmark_interval_ns"));
}

/** What a client is told that does not read its subscription. */
export function notRead(cursor: string): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the subscription: its client has not read for too long; resume after "${cursor}"`,
    { reason: "STREAM_NOT_READ", metadata: { cursor } },
  );
}
