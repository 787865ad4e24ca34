import type { Background } from "../../src/background.ts";
import type { Call } from "../../src/call.ts";
import { conversationTable } from "../../src/chat/turn.ts";
import type { LogEvent } from "../../src/events/event.ts";
import { Messages } from "../../src/messages/messages.ts";
import type { SessionConfig, SessionId, SessionMetadata } from "../../src/sessions/session.ts";
import type { SessionLimits } from "../../src/sessions/session-limits.ts";
import { Sessions, type SessionsOptions } from "../../src/sessions/sessions.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { unchanged } from "../../src/store/store.ts";
import { tempFolder } from "../temp-folder.ts";

/** Sessions and messages over a database of their own, under a clock that the test moves. */
export interface SessionParts extends AsyncDisposable {
  readonly store: SqliteStore;
  readonly sessions: Sessions;
  readonly messages: Messages;
  /** The database's file. */
  readonly path: string;
  /** Milliseconds since the epoch. */
  now: number;
  /** What has been announced with `onDue`. */
  readonly due: number[];
  /** What could not be closed, by its id. */
  readonly unfinished: string[];
  /** What takes no more work, by its id. */
  readonly ending: string[];
  /** Closes everything and opens it again, as a restart of the server does. */
  reopen(): Promise<void>;
  /** The log so far, of a session when it is named. */
  events(sessionId?: string): Promise<readonly LogEvent[]>;
}

const limits: SessionLimits = {
  maxSessions: 1_000,
  maxNameLength: 20,
  maxDescriptionLength: 30,
  maxLabels: 3,
  maxLabelKeyLength: 8,
  maxLabelValueLength: 10,
  maxTags: 2,
  maxTagLength: 6,
  defaultMaxContainers: 10,
  maxContainers: 50,
  defaultIdleTimeoutMs: 0,
  defaultMaxDurationMs: 0,
};

const noticeMs = 60_000;

export async function sessionParts(
  options: {
    readonly limits?: Partial<SessionLimits>;
    readonly empty?: SessionsOptions["empty"];
    /** By default work runs until it ends by itself. */
    readonly background?: Background;
    readonly maxPerSession?: number;
    readonly maxContentBytes?: number;
  } = {},
): Promise<SessionParts> {
  const folder = await tempFolder();
  const due: number[] = [];
  const unfinished: string[] = [];
  const ending: string[] = [];
  const clock = () => parts.now;
  const open = () => {
    const store = new SqliteStore(folder.file("sessions.db"));
    const sessions = new Sessions({
      store,
      clock,
      background: options.background ?? { start: (_name, work) => void work(new AbortController().signal) },
      limits: { ...limits, ...options.limits },
      noticeMs,
      empty: options.empty ?? (async () => {}),
      work: { table: conversationTable, end: () => unchanged(() => {}) },
      onEnding: ({ id }) => ending.push(id),
      onUnfinished: (id) => unfinished.push(id),
      onDue: (at) => due.push(at),
    });
    const { maxContentBytes = 1_000_000, maxPerSession = 1_000_000 } = options;
    const messages = new Messages({ store, clock, limits: { maxContentBytes, maxPerSession }, noticeMs });
    return { store, sessions, messages };
  };
  const parts = {
    ...open(),
    path: folder.file("sessions.db"),
    now: 1_000_000_000,
    due,
    unfinished,
    ending,
    reopen: async () => {
      await parts.store[Symbol.asyncDispose]();
      Object.assign(parts, open());
    },
    events: async (sessionId?: string) => {
      const filter = sessionId === undefined ? {} : { sessionId };
      return (await parts.store.events.read({ after: 0, filter, limit: 100_000 })).events;
    },
    [Symbol.asyncDispose]: async () => {
      await parts.store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
  return parts;
}

export function call(more: Partial<Call> = {}): Call {
  return { actor: "uid:7", correlationId: "corr", signal: new AbortController().signal, ...more };
}

export function metadata(more: Partial<SessionMetadata> = {}): SessionMetadata {
  return { name: "", description: "", labels: {}, ownerId: "", tags: [], ...more };
}

export function config(more: Partial<SessionConfig> = {}): SessionConfig {
  return {
    maxContainers: 0,
    maxDurationNs: 0n,
    idleTimeoutNs: 0n,
    limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
    allowedImages: [],
    policy: {
      allowNetwork: false,
      allowedNetworks: [],
      allowVolumeMount: false,
      allowedPaths: [],
      requireApproval: false,
    },
    ...more,
  };
}

/** A request for a session. */
export function wanted(
  more: {
    readonly metadata?: Partial<SessionMetadata>;
    readonly config?: Partial<SessionConfig>;
    readonly idempotencyKey?: string;
  } = {},
) {
  return {
    metadata: metadata(more.metadata),
    config: config(more.config),
    idempotencyKey: more.idempotencyKey ?? "",
  };
}

export function seconds(count: number): bigint {
  return BigInt(count) * 1_000_000_000n;
}

export const nobody = "019ab000-0000-7000-8000-000000000000" as SessionId; // no session has it
