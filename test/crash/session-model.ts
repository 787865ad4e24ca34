import type { ClosedSession, CreatedSession, Entry, SentMessage, UpdatedSession } from "./journal.ts";

/** What the clients know of one session. */
export interface KnownSession {
  readonly messages: SentMessage[];
  readonly updates: UpdatedSession[];
  close: ClosedSession | undefined;
}

/** What the clients know of all sessions of a run, from what their calls came to. */
export class SessionModel {
  readonly created = new Map<string, CreatedSession>();
  readonly sessions = new Map<string, KnownSession>();
  readonly acknowledged = { sessions: 0, messages: 0, updates: 0, closes: 0 };
  /** Calls to which no answer came. */
  unknown = 0;

  /** Takes in what has ended since the last time; gives the ids of the sessions that were used. */
  absorb(entries: readonly Entry[]): ReadonlySet<string> {
    const used = new Set<string>();
    for (const entry of entries) {
      if (entry.outcome.kind === "unknown") this.unknown += 1;
      const acknowledged = entry.outcome.kind === "acknowledged";
      switch (entry.call) {
        case "create_session":
          this.created.set(entry.op, entry);
          if (acknowledged) this.acknowledged.sessions += 1;
          if (entry.outcome.kind === "acknowledged") used.add(entry.outcome.id);
          continue;
        case "send_message":
          this.of(entry.sessionId).messages.push(entry);
          if (acknowledged) this.acknowledged.messages += 1;
          break;
        case "update_session":
          this.of(entry.sessionId).updates.push(entry);
          if (acknowledged) this.acknowledged.updates += 1;
          break;
        case "close_session":
          this.of(entry.sessionId).close = entry;
          if (acknowledged) this.acknowledged.closes += 1;
      }
      used.add(entry.sessionId);
    }
    return used;
  }

  of(sessionId: string): KnownSession {
    const known = this.sessions.get(sessionId) ?? { messages: [], updates: [], close: undefined };
    this.sessions.set(sessionId, known);
    return known;
  }
}
