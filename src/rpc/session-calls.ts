import type { Chat } from "../chat/chat.ts";
import type { Readings } from "../containers/readings.ts";
import type { EventLog } from "../events/log.ts";
import { invalid } from "../failure.ts";
import {
  GetSessionResponseSchema,
  type OrchestratorService,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Messages } from "../messages/messages.ts";
import type { SessionId } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Tasks } from "../tasks/tasks.ts";
import { askedBy } from "./asked-by.ts";
import { encode } from "./encoded.ts";
import type { Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import { SessionAnswers } from "./session-answers.ts";
import { patchOf } from "./session-patch.ts";
import { draftOf, toWireMessage } from "./wire-message.ts";
import { configOf, metadataOf, sessionFilterOf, toWireSession, toWireSessionState } from "./wire-session.ts";
import { count32, requiredId, timestamp } from "./wire-values.ts";

export interface SessionCallParts {
  readonly sessions: Sessions;
  readonly messages: Messages;
  readonly tasks: Pick<Tasks, "contextOf">;
  readonly chat: Chat;
  readonly readings: Readings;
  readonly log: EventLog;
  readonly maxPageSize: number;
  /** The longest idempotency key, in UTF-16 units. */
  readonly maxKeyLength: number;
}

/** How many messages GetSession brings when it isn't told. */
const defaultMessageLimit = 100;

/** OrchestratorService's calls about sessions and their messages. */
export function sessionCalls(parts: SessionCallParts): Handlers<typeof OrchestratorService> {
  const { sessions, messages, chat, readings, log, maxPageSize } = parts;
  const answers = new SessionAnswers();
  return {
    createSession: async (request, call) => {
      const wanted = {
        metadata: metadataOf(request.metadata),
        config: configOf(request.config),
        idempotencyKey: checkedKey(request.idempotencyKey, parts.maxKeyLength),
      };
      const session = await sessions.create(wanted, askedBy(call));
      const activity = await sessions.activity(session.id);
      return { sessionId: session.id, session: toWireSession(session, { activity }) };
    },

    getSession: async (request) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const limit = messageLimitOf(request.messageLimit, maxPageSize);
      const session = await sessions.get(id);
      const activity = await sessions.activity(id);
      const usages = readings.live(session.containerIds);
      const made = { session, activity, messageLimit: limit, usages };
      const kept = answers.get(made);
      if (kept !== undefined) return kept;
      const newest =
        activity === undefined || activity.messageCount === 0 ? [] : await messages.newest(id, limit);
      const tasks = await parts.tasks.contextOf(id);
      const answer = encode(GetSessionResponseSchema, {
        session: toWireSession(session, { activity, messages: newest, usages, tasks }),
      });
      answers.keep(made, answer);
      return answer;
    },

    listSessions: async (request) => {
      const filter = sessionFilterOf(request.filter);
      const listing = await sessions.list({ filter, ...pageOf(request, { maxPageSize, filter }) });
      const activities = await Promise.all(listing.rows.map(({ id }) => sessions.activity(id)));
      return {
        sessions: listing.rows.map((session, index) =>
          toWireSession(session, {
            activity: activities[index],
            usages: readings.live(session.containerIds),
          }),
        ),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, filter),
        cursor: log.cursor(listing.position),
      };
    },

    updateSession: async (request, call) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const session = await sessions.update(id, patchOf(request), askedBy(call));
      const usages = readings.live(session.containerIds);
      return { session: toWireSession(session, { activity: await sessions.activity(id), usages }) };
    },

    closeSession: async (request, call) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const reason = checkedReason(request.reason);
      const how = request.abandon ? "abandon" : "wait";
      const session = await sessions.close(id, { reason, how }, askedBy(call));
      return { sessionId: session.id, state: toWireSessionState(session) };
    },

    sendMessage: async (request, call) => {
      const id = requiredId<SessionId>(request.sessionId, "session_id");
      const idempotencyKey = checkedKey(request.idempotencyKey, parts.maxKeyLength);
      const sent = { draft: draftOf(request.message), idempotencyKey };
      const { message } = await chat.send(id, sent, askedBy(call));
      return { messageId: message.id, sessionId: id, timestamp: timestamp(message.at) };
    },

    listMessages: async (request) => {
      const sessionId = requiredId<SessionId>(request.sessionId, "session_id");
      const order = request.newestFirst ? "newest_first" : "oldest_first";
      const filter = { sessionId, order };
      const listing = await messages.list({ sessionId, order, ...pageOf(request, { maxPageSize, filter }) });
      return {
        messages: listing.rows.map(toWireMessage),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, filter),
        cursor: log.cursor(listing.position),
      };
    },
  };
}

/** The longest reason of a close, in UTF-16 units. */
const maxReasonLength = 1_024;

/** Failures: INVALID_ARGUMENT when the reason of a close is too long. */
export function checkedReason(reason: string): string {
  if (reason.length <= maxReasonLength) return reason;
  const description = `has ${reason.length} characters; at most ${maxReasonLength} are allowed`;
  throw invalid("close the session", [{ field: "reason", description }]);
}

function messageLimitOf(asked: number, most: number): number {
  if (asked < 0) {
    throw invalid("get the session", [
      { field: "message_limit", description: `is ${asked}; it can't be negative` },
    ]);
  }
  return asked === 0 ? defaultMessageLimit : Math.min(asked, most);
}

/** Failures: INVALID_ARGUMENT when the key is too long. */
export function checkedKey(key: string, most: number): string {
  if (key.length <= most) return key;
  const description = `has ${key.length} characters; at most ${most} are allowed`;
  throw invalid("read the request", [{ field: "idempotency_key", description }]);
}
