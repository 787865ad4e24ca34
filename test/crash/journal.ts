/** What a client knows of one call: what the server acknowledged, what it refused, or that no answer came. */
export type Outcome =
  | { readonly kind: "acknowledged"; readonly id: string }
  | { readonly kind: "refused"; readonly status: string }
  | { readonly kind: "unknown"; readonly status: string };

export interface CreatedSession {
  readonly call: "create_session";
  /** Unique in the run; also the session's name. */
  readonly op: string;
  /** Empty: sent without one. */
  readonly key: string;
  readonly outcome: Outcome;
}

export interface SentMessage {
  readonly call: "send_message";
  /** Unique in the run; its content follows from it. */
  readonly op: string;
  readonly sessionId: string;
  /** One sender sends one message after the other. */
  readonly sender: string;
  readonly size: number;
  /** The client's id for it; empty: sent without one. */
  readonly id: string;
  readonly key: string;
  readonly outcome: Outcome;
}

export interface UpdatedSession {
  readonly call: "update_session";
  readonly sessionId: string;
  /** From 1, one after the other in a session; also the session's description. */
  readonly revision: number;
  readonly outcome: Outcome;
}

export interface ClosedSession {
  readonly call: "close_session";
  readonly sessionId: string;
  readonly reason: string;
  readonly outcome: Outcome;
}

export type Entry = CreatedSession | SentMessage | UpdatedSession | ClosedSession;

/** From the run to a client process. */
export type Order = { readonly order: "go" | "settle" | "end" };

/** From a client process to the run: all calls that have ended since the report before. */
export type Report = { readonly report: "ready" } | { readonly report: "settled"; readonly entries: Entry[] };

/** The content that a message has: another one for each `op`, exactly `size` characters or the op's length. */
export function contentOf(op: string, size: number): string {
  return `${op} `.padEnd(size, op);
}
