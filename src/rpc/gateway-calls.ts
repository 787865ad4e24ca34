import type { Chat } from "../chat/chat.ts";
import type { GatewaySessions } from "../chat/gateway-sessions.ts";
import type { EventLog } from "../events/log.ts";
import type { GatewayService } from "../gen/proto/gateway/v1/gateway_pb.ts";
import type { Messages } from "../messages/messages.ts";
import type { SessionId } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { askedBy } from "./asked-by.ts";
import { gatewayEvents } from "./gateway-events.ts";
import type { Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import { checkedKey, checkedReason } from "./session-calls.ts";
import { ChatStream } from "./stream-chat.ts";
import { streamResponses } from "./stream-responses.ts";
import {
  gatewayCallerOf,
  gatewayDraftOf,
  gatewayFilterOf,
  toWireGateway,
  toWireGatewayState,
  wantedGatewayOf,
} from "./wire-gateway.ts";
import { count32, requiredId, timestamp } from "./wire-values.ts";

export interface GatewayCallParts {
  readonly gateways: GatewaySessions;
  readonly chat: Chat;
  readonly sessions: Sessions;
  readonly messages: Messages;
  readonly log: EventLog;
  readonly maxPageSize: number;
  /** The longest idempotency key, in UTF-16 units. */
  readonly maxKeyLength: number;
  /** Told of every StreamChat and StreamResponses that begins and ends. */
  readonly countStream: (by: 1 | -1) => void;
}

/** GatewayService's calls but HealthCheck and GetStatus. */
export function gatewayCalls(parts: GatewayCallParts): Handlers<typeof GatewayService> {
  const { gateways, chat, sessions, log, maxPageSize, countStream } = parts;
  const touch = (id: SessionId) => sessions.touch(id);
  return {
    createGatewaySession: async (request, call) => {
      const key = checkedKey(request.idempotencyKey, parts.maxKeyLength);
      const wanted = wantedGatewayOf(request.metadata, request.config);
      const session = await gateways.create(wanted, key, askedBy(call));
      return {
        sessionId: session.id,
        session: toWireGateway(session, await sessions.activity(session.id)),
      };
    },

    getGatewaySession: async (request, call) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const session = await gateways.get(id, gatewayCallerOf(call));
      return { session: toWireGateway(session, await sessions.activity(id)) };
    },

    listGatewaySessions: async (request) => {
      const filter = gatewayFilterOf(request.filter);
      const paged = { maxPageSize, filter: { list: "gateway", ...filter } };
      const listing = await gateways.list({ filter, ...pageOf(request, paged) });
      const activities = await Promise.all(listing.rows.map(({ id }) => sessions.activity(id)));
      return {
        sessions: listing.rows.map((session, index) => toWireGateway(session, activities[index])),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, paged.filter),
        cursor: log.cursor(listing.position),
      };
    },

    closeGatewaySession: async (request, call) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const reason = checkedReason(request.reason);
      const session = await gateways.close(id, { reason, caller: gatewayCallerOf(call) }, askedBy(call));
      return { sessionId: id, state: toWireGatewayState(session) };
    },

    gatewaySendMessage: async (request, call) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const idempotencyKey = checkedKey(request.idempotencyKey, parts.maxKeyLength);
      const session = await gateways.get(id, gatewayCallerOf(call));
      const draft = gatewayDraftOf(request.message, id);
      const { message } = await gateways.send(session, { draft, idempotencyKey }, askedBy(call));
      return { messageId: message.id, sessionId: id, timestamp: timestamp(message.at) };
    },

    streamChat: async function* (requests, call) {
      countStream(1);
      try {
        yield* new ChatStream({ gateways, chat, touch }, call).run(requests);
      } finally {
        countStream(-1);
      }
    },

    streamResponses: async function* (request, call) {
      countStream(1);
      try {
        const id = requiredId<SessionId>(request.sessionId, "session_id");
        const session = await gateways.get(id, gatewayCallerOf(call));
        const isClosed = async () => (await gateways.get(id, gatewayCallerOf(call))).life.state !== "active";
        yield* streamResponses({ chat, messages: parts.messages, session, call, isClosed }, request);
      } finally {
        countStream(-1);
      }
    },

    subscribeToEvents: async function* (request, call) {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const session = await gateways.get(id, gatewayCallerOf(call));
      yield* gatewayEvents({ log, session, call }, request);
    },
  };
}
