import type { Instant, NewEvent } from "../events/event.ts";
import { knownSession, type SessionId, sessionEvent, sessionTable } from "../sessions/session.ts";
import { changed, type Store } from "../store/store.ts";
import type { MailListener } from "./lines.ts";

/**
 * Puts what agents tell the server of into the log: a message of type EVENT becomes IPC_MESSAGE, durable before more is
 * read from its sender.
 *
 * Failures: NOT_FOUND when it names a session that is not there.
 */
export function eventMail({
  store,
  clock,
}: {
  readonly store: Store;
  readonly clock: () => Instant;
}): MailListener {
  return async ({ agent, message }) => {
    const { payload, metadata } = message;
    if (message.type !== "event" || payload.kind !== "event") return "not_mine";
    const { labels, ownerId } = agent.metadata;
    const sessionId = metadata.sessionId === "" ? undefined : (metadata.sessionId as SessionId); // found, or refused below
    const event: NewEvent = {
      type: "ipc_message",
      source: "agent.grpc",
      at: clock(),
      agentId: agent.id,
      labels,
      ...(ownerId === "" ? {} : { userId: ownerId }),
      ...(metadata.correlationId === "" ? {} : { correlationId: metadata.correlationId }),
      data: {
        ...payload.data,
        event_type: payload.eventType,
        event_source: payload.source,
        message_id: message.id,
      },
    };
    await store.change({ session: { table: sessionTable, key: sessionId } }, ({ session }) => {
      if (sessionId === undefined) return changed(undefined, [], [event]);
      const known = knownSession(session, { id: sessionId, doing: "tell of an event in session" });
      return changed(undefined, [], [sessionEvent(known, event)]);
    });
    return "taken";
  };
}
