import type { Background } from "../background.ts";
import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { answerTable, onceKey } from "../store/answers.ts";
import { counterTable } from "../store/counters.ts";
import type { Decision, Listing, Store } from "../store/store.ts";
import { changed, put, unchanged } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import {
  type Activity,
  activeSession,
  activityAt,
  activityTable,
  expiryStep,
  type GatewaySide,
  knownSession,
  openSessions,
  type Session,
  type SessionConfig,
  type SessionId,
  type SessionMetadata,
  sessionTable,
} from "./session.ts";
import {
  contextViolations,
  refuse,
  type SessionLimits,
  sessionViolations,
  withDefaults,
} from "./session-limits.ts";
import {
  announceExpiry,
  closeSession,
  createSession,
  type Deciding,
  finishClosing,
  sessionSource,
  updateSession,
} from "./session-rules.ts";
import { type LoadedSession, type SessionWork, sessionWithWork, withItsWork } from "./session-work.ts";
import { settledOrAborted } from "./settled-or-aborted.ts";

export interface SessionsOptions {
  readonly store: Store;
  readonly clock: () => Instant;
  /** Where closings go that have begun: they outlive the call that asked for them, and not the server. */
  readonly background: Background;
  readonly limits: SessionLimits;
  /** How long before its end a session's SESSION_EXPIRING comes, in milliseconds; a tenth of its time if that is shorter. */
  readonly noticeMs: number;
  /** Ends what a closing session has (its containers) and resolves when nothing is left. Called again after a crash. */
  readonly empty: (id: SessionId, call: Call, how: Closes) => Promise<void>;
  /** What goes on in a session beside that, and ends in the commit in which the session begins to end. */
  readonly work: SessionWork;
  /** Hears that a session takes no more work, whenever somebody wants it closed: what it has asked for is to be given up. */
  readonly onEnding: (session: Session) => void;
  /** Hears why a closing session could not be emptied; it stays closing, and is tried again. */
  readonly onUnfinished: (id: SessionId, error: unknown) => void;
  /** Hears of every time at which a session has to be looked at again. */
  readonly onDue: (at: Instant) => void;
}

/** What to do about containers that the engine can't remove: to wait for it, or to let go of them. */
type Closes = "wait" | "abandon";

/** What a client asks for when it opens a session. */
interface WantedSession {
  readonly metadata: SessionMetadata;
  readonly config: SessionConfig;
  /** Where a user interface opens it. */
  readonly gateway?: GatewaySide;
  readonly idempotencyKey: string;
}

export interface SessionFilter {
  /** Any of these. */
  readonly states?: readonly Session["life"]["state"][];
  readonly ownerId?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Only those that a user interface has opened. */
  readonly of?: "gateway";
}

/** What a listing of sessions is of: which, from where, and how many. */
export interface SessionPage {
  readonly filter: SessionFilter;
  readonly limit: number;
  readonly after?: PagePlace | undefined;
}

/** The use cases of sessions. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #store: Store;
  /** The closings under way, so that two callers wait for one. */
  readonly #closing = new Map<SessionId, Promise<void>>();
  /** When each session was last touched on disk; bounded by touch(). */
  readonly #touched = new Map<SessionId, Instant>();

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /**
   * Opens a session. An empty name is made up from the id; zero limits mean the server's defaults.
   *
   * Failures: INVALID_ARGUMENT naming each wrong field, RESOURCE_EXHAUSTED at the bound on open sessions,
   * ALREADY_EXISTS when the idempotency key stands for another request.
   */
  async create(wanted: WantedSession, call: Call): Promise<Session> {
    const fields = { metadata: "metadata", config: "config" };
    refuse("create a session", sessionViolations(wanted, this.#options.limits, fields));
    const deciding = this.#deciding(call);
    const session = this.#newSession(wanted, deciding.at);
    const { metadata, config, gateway, idempotencyKey: key } = wanted;
    const kind = gateway === undefined ? "create_session" : "create_gateway_session";
    const content = { metadata, config, ...(gateway === undefined ? {} : { gateway }) };
    const once = key === "" ? undefined : onceKey(key, { kind, scope: call.actor, content });
    const id = await this.#store.change(
      {
        open: { table: counterTable, key: openSessions },
        answer: { table: answerTable, key: once?.row },
      },
      (loaded) =>
        createSession(loaded, session, {
          ...deciding,
          once,
          maxSessions: this.#options.limits.maxSessions,
          noticeMs: this.#options.noticeMs,
        }),
    );
    if (id !== session.id) return await this.get(id);
    this.#noteDue(session, deciding.at);
    return session;
  }

  /** Failures: NOT_FOUND. */
  async get(id: SessionId): Promise<Session> {
    return knownSession(await this.#store.get(sessionTable, id), { id, doing: "get session" });
  }

  async activity(id: SessionId): Promise<Activity | undefined> {
    return await this.#store.get(activityTable, id);
  }

  /** Sessions, newest first. */
  async list({ filter, limit, after }: SessionPage): Promise<Listing<Session>> {
    const where = {
      ...(filter.states === undefined ? {} : { state: filter.states }),
      ...(filter.ownerId === undefined ? {} : { ownerId: filter.ownerId }),
      ...(filter.of === undefined ? {} : { gateway: "yes" }),
    };
    const labels = filter.labels ?? {};
    return await this.#store.list(sessionTable, {
      where,
      labels,
      limit,
      after,
      descending: true,
      total: true,
    });
  }

  /** How many sessions are not closed. */
  async countOpen(): Promise<number> {
    return (await this.#store.get(counterTable, openSessions))?.value ?? 0;
  }

  /** The same of those that a user interface has opened. */
  async countOpenGateways(): Promise<number> {
    return await this.#store.count(sessionTable, { where: { gateway: "yes", state: ["active", "closing"] } });
  }

  /**
   * Changes what `patch` changes.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION when the session is closing or closed, INVALID_ARGUMENT.
   */
  async update(id: SessionId, patch: (session: Session) => Session, call: Call): Promise<Session> {
    const deciding = this.#deciding(call);
    const fields = { metadata: "metadata", config: "context.config" };
    const updated = await this.#store.change(
      { session: { table: sessionTable, key: id }, activity: { table: activityTable, key: id } },
      (loaded) => {
        const session = activeSession(loaded.session, { id, doing: "update session" });
        const checked = (before: Session) => {
          const wanted = patch(before);
          const after = { ...wanted, config: withDefaults(wanted.config, this.#options.limits) };
          refuse(`update session "${id}"`, [
            ...sessionViolations(after, this.#options.limits, fields),
            ...contextViolations(after, "context"),
          ]);
          return after;
        };
        return updateSession({ session, activity: loaded.activity }, checked, {
          ...deciding,
          noticeMs: this.#options.noticeMs,
        });
      },
    );
    this.#noteDue(updated, deciding.at);
    return updated;
  }

  /**
   * Ends a session: it takes no more work, its containers are stopped and removed, then it is closed. Resolves when that
   * is done; or when the call's time is over, or the engine refuses, then with a session that is still closing: the server
   * goes on with it. `abandon` lets go of containers that the engine can't remove instead.
   *
   * Failures: NOT_FOUND.
   */
  async close(
    id: SessionId,
    options: { readonly reason: string; readonly source?: string; readonly how?: Closes },
    call: Call,
  ): Promise<Session> {
    const deciding = this.#deciding(call);
    const source = options.source ?? sessionSource;
    const session = await this.#beginEnd(id, deciding.at, (loaded) =>
      closeSession(
        { ...loaded, session: knownSession(loaded.session, { id, doing: "close session" }) },
        { ...deciding, reason: options.reason, source },
      ),
    );
    this.#options.onEnding(session);
    if (session.life.state !== "closing") return session;
    // Beside an attempt that may be waiting for the engine.
    if (options.how === "abandon") await this.#finishNow(id, call, source, "abandon");
    else await settledOrAborted(this.#finishInBackground(id, call, source), call.signal);
    return await this.get(id);
  }

  /** Brings a closing session to its end; several callers share one attempt. */
  finish(id: SessionId, call: Call, source = "sessions"): Promise<void> {
    const running = this.#closing.get(id);
    if (running !== undefined) return running;
    const attempt = this.#finishNow(id, call, source).finally(() => this.#closing.delete(id));
    this.#closing.set(id, attempt);
    return attempt;
  }

  /** The sessions whose end has begun and is not reached. */
  async closing(limit: number): Promise<readonly Session[]> {
    return (await this.#store.list(sessionTable, { where: { state: "closing" }, limit })).rows;
  }

  /**
   * Counts as activity that leaves no row of its own: a frame on a stream, traffic of an exec. Written at most once in
   * a tenth of the idle time-out (and a second), so it may be called for every frame. Does not fail because it can't be
   * written: what the session is used for goes on.
   */
  async touch(id: SessionId): Promise<void> {
    const session = await this.#store.get(sessionTable, id);
    if (session === undefined || session.config.idleTimeoutNs === 0n) return;
    const at = this.#options.clock();
    const everyMs = Math.min(1_000, Number(session.config.idleTimeoutNs / 10_000_000n));
    if (Math.abs(at - (this.#touched.get(id) ?? 0)) < everyMs) return;
    if (this.#touched.size > 10_000) this.#touched.clear();
    this.#touched.set(id, at);
    try {
      await this.#store.change(
        { session: { table: sessionTable, key: id }, activity: { table: activityTable, key: id } },
        (loaded) => {
          if (loaded.session?.life.state !== "active") return unchanged(undefined);
          const { activity: before } = loaded;
          const next = activityAt(loaded.session, at, { before, noticeMs: this.#options.noticeMs });
          return changed(undefined, [put(activityTable, next)]);
        },
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
  }

  /** The next time at which a session has to be looked at; `undefined` when there is none. */
  async nextDue(): Promise<Instant | undefined> {
    const { rows } = await this.#store.list(activityTable, {
      where: { dueAt: { gte: 0 } },
      orderBy: "dueAt",
      limit: 1,
    });
    return rows[0]?.dueAt ?? undefined;
  }

  /**
   * Announces and ends what is due by now, at most `limit` sessions; resolves to how many there were. It does not wait
   * for the containers of those that end: a slow or lost engine must not keep the others past their time.
   */
  async expire(call: Call, limit = 256): Promise<number> {
    const now = this.#options.clock();
    const { rows } = await this.#store.list(activityTable, {
      where: { dueAt: { lte: now } },
      orderBy: "dueAt",
      limit,
    });
    await Promise.all(rows.map((row) => this.#expireOne(row.sessionId, call)));
    return rows.length;
  }

  async #expireOne(id: SessionId, call: Call): Promise<void> {
    const deciding = this.#deciding(call);
    const ended = await this.#beginEnd(id, deciding.at, ({ session, activity, open }) => {
      if (activity === undefined) return unchanged(undefined);
      // Otherwise it would be found again at once, for ever.
      if (session?.life.state !== "active")
        return changed(undefined, [put(activityTable, { ...activity, dueAt: null })]);
      const step = expiryStep(session, activity, deciding.at);
      if (step.kind === "none") return unchanged(undefined);
      if (step.kind === "end") {
        return closeSession(
          { session, activity, open },
          { ...deciding, reason: step.reason, source: "sessions" },
        );
      }
      const { rows, events } = announceExpiry(session, activity, {
        ...deciding,
        expiresAt: step.expiresAt,
        reason: step.reason,
      });
      return { result: undefined, rows, events };
    });
    if (ended === undefined) return;
    this.#options.onEnding(ended);
    if (ended.life.state !== "closing") return;
    void this.#finishInBackground(id, call); // it never rejects
  }

  /** Changes a session as `decide` says, and where that begins its end, ends what goes on in it. */
  async #beginEnd<Ended extends Session | undefined>(
    id: SessionId,
    at: Instant,
    decide: (loaded: LoadedSession) => Decision<Ended>,
  ): Promise<Ended> {
    const { work } = this.#options;
    const { result, done } = await this.#store.change(sessionWithWork(id, work), (loaded) =>
      withItsWork(decide(loaded), { ...loaded, end: work.end, at }),
    );
    done();
    return result;
  }

  /** Goes on when its caller is gone: a close is acknowledged work of the server. Resolves when the attempt is over. */
  #finishInBackground(id: SessionId, call: Call, source?: string): Promise<void> {
    const over = Promise.withResolvers<void>();
    this.#options.background.start("finish closing a session", async (signal) => {
      try {
        await this.finish(id, { ...call, signal }, source);
      } catch (error) {
        // A server that stops leaves it to its next start.
        if (!signal.aborted) this.#options.onUnfinished(id, error);
      } finally {
        over.resolve();
      }
    });
    return over.promise;
  }

  async #finishNow(id: SessionId, call: Call, source: string, how: Closes = "wait"): Promise<void> {
    await this.#options.empty(id, call, how);
    await this.#store.change(
      {
        session: { table: sessionTable, key: id },
        activity: { table: activityTable, key: id },
        open: { table: counterTable, key: openSessions },
      },
      (loaded) => finishClosing(loaded, { ...this.#deciding(call), id, source }),
    );
  }

  #newSession(wanted: WantedSession, at: Instant): Session {
    const { limits } = this.#options;
    const id = Bun.randomUUIDv7() as SessionId; // this is where session ids are made
    const { metadata, config, gateway } = wanted;
    return {
      id,
      metadata: { ...metadata, name: metadata.name === "" ? `session-${id.slice(-12)}` : metadata.name },
      config: withDefaults(config, limits),
      preferences: { timezone: "", language: "", theme: "", notifications: false },
      currentTaskId: "",
      taskHistory: [],
      life: { state: "active" },
      createdAt: at,
      updatedAt: at,
      containerIds: [],
      ...(gateway === undefined ? {} : { gateway }),
    };
  }

  #noteDue(session: Session, at: Instant): void {
    const { dueAt } = activityAt(session, at, { before: undefined, noticeMs: this.#options.noticeMs });
    if (dueAt !== null) this.#options.onDue(dueAt);
  }

  #deciding(call: Call): Deciding {
    return { at: this.#options.clock(), actor: call.actor, correlationId: call.correlationId };
  }
}
