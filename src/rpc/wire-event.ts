import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EventType, LogEvent, Priority } from "../events/event.ts";
import type { EventFilter } from "../events/filter.ts";
import type { LogItem } from "../events/log.ts";
import { invalid } from "../failure.ts";
import { PrioritySchema, Priority as WirePriority } from "../gen/proto/common/v1/common_pb.ts";
import {
  EventSchema,
  EventTypeSchema,
  type EventFilter as WireFilter,
  EventType as WireType,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Encoded, encode } from "./encoded.ts";
import { instantOf, knownEnum, timestamp } from "./wire-values.ts";

/** An event of the log as the wire has it: made and encoded once, however many readers get it. */
export function encodedEvent(event: LogEvent, cursor: string): Encoded {
  const known = encodings.get(event);
  if (known !== undefined) return known;
  const encoded = encode(EventSchema, toWireEvent(event, cursor));
  encodings.set(event, encoded);
  return encoded;
}

/** Word of how far an idle reader has come: an event of its own type, with a cursor and a time and nothing else. */
export function bookmarkEvent(
  item: Extract<LogItem, { kind: "bookmark" }>,
  cursor: string,
): MessageInitShape<typeof EventSchema> {
  return { type: WireType.BOOKMARK, source: "events", timestamp: timestamp(item.at), cursor };
}

/** What a client's filter asks for. Failures: INVALID_ARGUMENT for unknown enum values and times that are none. */
export function eventFilterOf(wire: WireFilter | undefined): EventFilter {
  if (wire === undefined) return {};
  const single = wire.type === WireType.UNSPECIFIED ? [] : [wire.type];
  // Each once: every event is compared with all of them.
  const types = [
    ...new Set([
      ...single.map((type) => typeOf(type, "filter.type")),
      ...wire.types.map((type) => typeOf(type, "filter.types")),
    ]),
  ];
  const startTime = instantOf(wire.startTime, "filter.start_time");
  const endTime = instantOf(wire.endTime, "filter.end_time");
  const priority = priorityOf(wire.priority, "filter.priority");
  return {
    types,
    ...(wire.source === "" ? {} : { source: wire.source }),
    ...(wire.sessionId === "" ? {} : { sessionId: wire.sessionId }),
    ...(wire.containerId === "" ? {} : { containerId: wire.containerId }),
    ...(wire.taskId === "" ? {} : { taskId: wire.taskId }),
    ...(wire.agentId === "" ? {} : { agentId: wire.agentId }),
    ...(priority === undefined ? {} : { priority }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(endTime === undefined ? {} : { endTime }),
    labels: wire.labels,
  };
}

/** The priority that a client asks for; `undefined`: any. */
export function priorityOf(wire: WirePriority, field: string): Priority | undefined {
  knownEnum(PrioritySchema, wire, field);
  return priorities.find((name) => wirePriorities[name] === wire);
}

export function toWirePriority(priority: Priority | undefined): WirePriority {
  return wirePriorities[priority ?? "normal"];
}

const encodings = new WeakMap<LogEvent, Encoded>();

const priorities = ["low", "normal", "high", "critical"] as const satisfies readonly Priority[];

const wirePriorities: Readonly<Record<Priority, WirePriority>> = {
  low: WirePriority.LOW,
  normal: WirePriority.NORMAL,
  high: WirePriority.HIGH,
  critical: WirePriority.CRITICAL,
};

const wireTypes: Readonly<Record<EventType, WireType>> = {
  container_created: WireType.CONTAINER_CREATED,
  container_started: WireType.CONTAINER_STARTED,
  container_stopped: WireType.CONTAINER_STOPPED,
  container_removed: WireType.CONTAINER_REMOVED,
  container_error: WireType.CONTAINER_ERROR,
  container_paused: WireType.CONTAINER_PAUSED,
  container_resumed: WireType.CONTAINER_RESUMED,
  container_restarting: WireType.CONTAINER_RESTARTING,
  session_created: WireType.SESSION_CREATED,
  session_updated: WireType.SESSION_UPDATED,
  session_expiring: WireType.SESSION_EXPIRING,
  session_closed: WireType.SESSION_CLOSED,
  message_created: WireType.MESSAGE_CREATED,
  task_created: WireType.TASK_CREATED,
  task_updated: WireType.TASK_UPDATED,
  task_completed: WireType.TASK_COMPLETED,
  task_failed: WireType.TASK_FAILED,
  agent_registered: WireType.AGENT_REGISTERED,
  agent_lost: WireType.AGENT_LOST,
  agent_unregistered: WireType.AGENT_UNREGISTERED,
  exec_started: WireType.EXEC_STARTED,
  exec_finished: WireType.EXEC_FINISHED,
  image_pulled: WireType.IMAGE_PULLED,
  ipc_message: WireType.IPC_MESSAGE,
  policy_violation: WireType.POLICY_VIOLATION,
  resource_threshold: WireType.RESOURCE_THRESHOLD,
  runtime_lost: WireType.RUNTIME_LOST,
  runtime_recovered: WireType.RUNTIME_RECOVERED,
  approval_requested: WireType.APPROVAL_REQUESTED,
  approval_given: WireType.APPROVAL_GIVEN,
  approval_refused: WireType.APPROVAL_REFUSED,
  turn_queued: WireType.TURN_QUEUED,
  turn_started: WireType.TURN_STARTED,
  turn_answered: WireType.TURN_ANSWERED,
  turn_failed: WireType.TURN_FAILED,
  turn_cancelled: WireType.TURN_CANCELLED,
  system_startup: WireType.SYSTEM_STARTUP,
  system_shutdown: WireType.SYSTEM_SHUTDOWN,
};

// The names are the keys of wireTypes, which are all event types.
const typesByNumber = new Map(Object.entries(wireTypes).map(([name, number]) => [number, name as EventType]));

function typeOf(wire: WireType, field: string): EventType {
  knownEnum(EventTypeSchema, wire, field);
  const type = typesByNumber.get(wire);
  if (type !== undefined) return type;
  const description = "is EVENT_TYPE_BOOKMARK or unset; bookmarks are asked for by bookmark_interval_ns";
  throw invalid("subscribe to events", [{ field, description }]);
}

/** An event of the log as the wire has it. */
export function toWireEvent(event: LogEvent, cursor: string): MessageInitShape<typeof EventSchema> {
  return {
    id: event.id,
    type: wireTypes[event.type],
    source: event.source,
    timestamp: timestamp(event.at),
    data: { ...event.data },
    metadata: {
      correlationId: event.correlationId ?? "",
      sessionId: event.sessionId ?? "",
      containerId: event.containerId ?? "",
      taskId: event.taskId ?? "",
      agentId: event.agentId ?? "",
      userId: event.userId ?? "",
      actor: event.actor ?? "",
      labels: { ...event.labels },
      priority: toWirePriority(event.priority),
    },
    cursor,
  };
}
