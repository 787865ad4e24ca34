import type { MessageInitShape } from "@bufbuild/protobuf";
import type { GatewaySession } from "../chat/gateway-session.ts";
import type { EventType, LogEvent } from "../events/event.ts";
import { type EventFilter, matches } from "../events/filter.ts";
import type { EventLog } from "../events/log.ts";
import {
  type GatewayEventFilter,
  type GatewayEventSchema,
  GatewayEventTypeSchema,
  type SubscribeToEventsRequest,
  GatewayEventType as WireType,
} from "../gen/proto/gateway/v1/gateway_pb.ts";
import type { Call } from "./call.ts";
import { beginningOf, cursorHeader, notRead } from "./event-calls.ts";
import { priorityOf, toWirePriority } from "./wire-event.ts";
import { instantOf, knownEnum, timestamp } from "./wire-values.ts";

/** What each event of the log is to a user interface; it gets no others. */
const wireTypes: ReadonlyMap<EventType, WireType> = new Map([
  ["session_created", WireType.SESSION_CREATED],
  ["session_updated", WireType.SESSION_UPDATED],
  ["session_expiring", WireType.SESSION_UPDATED],
  ["session_closed", WireType.SESSION_CLOSED],
  ["message_created", WireType.MESSAGE_SENT], // or MESSAGE_RECEIVED, by its role
  ["turn_started", WireType.STREAM_STARTED],
  ["turn_answered", WireType.STREAM_COMPLETE],
  ["turn_failed", WireType.STREAM_ERROR],
  ["turn_cancelled", WireType.STREAM_ERROR],
  ["container_error", WireType.ERROR],
  ["policy_violation", WireType.ERROR],
]);

const types = [...wireTypes.keys()];

/** The events of one gateway session, until it is closed. */
export async function* gatewayEvents(
  parts: { readonly log: EventLog; readonly session: GatewaySession; readonly call: Call },
  request: SubscribeToEventsRequest,
): AsyncGenerator<MessageInitShape<typeof GatewayEventSchema>, void, undefined> {
  const { log, session, call } = parts;
  const { filter, wanted } = filterOf(request.filter, session);
  let position = await log.positionAt(beginningOf(request, filter));
  call.onStalled = () => notRead(log.cursor(position));
  call.open({ [cursorHeader]: log.cursor(position) });
  const { life } = session;
  const endTime = life.state === "closed" ? life.at + 1 : filter.endTime; // a closed one has no more events
  const read = { sessionId: session.id, types, ...(endTime === undefined ? {} : { endTime }) };
  for await (const item of log.follow({ after: position, filter: read, signal: call.signal })) {
    if (item.kind !== "event") continue;
    const { event } = item;
    position = event.position;
    const type = typeOf(event);
    if ((wanted === WireType.UNSPECIFIED || wanted === type) && matches(event, filter))
      yield toWire(event, type, log.cursor(position));
    if (event.type === "session_closed") return;
  }
}

function filterOf(
  wire: GatewayEventFilter | undefined,
  session: GatewaySession,
): { readonly filter: EventFilter; readonly wanted: WireType } {
  if (wire === undefined) return { filter: { sessionId: session.id }, wanted: WireType.UNSPECIFIED };
  const wanted = knownEnum(GatewayEventTypeSchema, wire.type, "filter.type");
  const startTime = instantOf(wire.startTime, "filter.start_time");
  const endTime = instantOf(wire.endTime, "filter.end_time");
  const priority = priorityOf(wire.priority, "filter.priority");
  const filter = {
    sessionId: session.id,
    ...(wire.source === "" ? {} : { source: wire.source }),
    ...(priority === undefined ? {} : { priority }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(endTime === undefined ? {} : { endTime }),
    labels: wire.labels,
  };
  return { filter, wanted };
}

function typeOf(event: LogEvent): WireType {
  const { role } = event.data ?? {};
  if (event.type === "message_created" && (role === "assistant" || role === "tool"))
    return WireType.MESSAGE_RECEIVED;
  return wireTypes.get(event.type) ?? WireType.UNSPECIFIED;
}

function toWire(
  event: LogEvent,
  type: WireType,
  cursor: string,
): MessageInitShape<typeof GatewayEventSchema> {
  return {
    id: event.id,
    type,
    source: event.source,
    timestamp: timestamp(event.at),
    data: { ...event.data },
    metadata: {
      sessionId: event.sessionId ?? "",
      messageId: event.data?.message_id ?? "",
      userId: event.userId ?? "",
      correlationId: event.correlationId ?? "",
      labels: { ...event.labels },
      priority: toWirePriority(event.priority),
    },
    cursor,
  };
}
