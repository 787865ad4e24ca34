import { type Call, systemCall } from "../call.ts";
import { Failure, invalid } from "../failure.ts";
import { holdingsOf } from "../sessions/holdings.ts";
import { activeSession, activityTable, type SessionId, sessionTable } from "../sessions/session.ts";
import { answerTable, onceKey } from "../store/answers.ts";
import { counterTable } from "../store/counters.ts";
import { approveContainer } from "./approval-rules.ts";
import {
  type Container,
  type ContainerConfig,
  type ContainerId,
  containerTable,
  engineName,
  knownContainer,
  loadedWith,
  openContainers,
  type PullPolicy,
} from "./container.ts";
import { makeSurroundings } from "./engine-surroundings.ts";
import type { Attached } from "./first-output.ts";
import { type Intent, intendContainer, type NewIntent, type Repeated } from "./intent.ts";
import { makeInEngine } from "./making.ts";
import { callSource, forget, observe } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { configViolations } from "./policy/container-limits.ts";
import { lookUp } from "./policy/findings.ts";
import type { FileIdentity } from "./policy/host-paths.ts";
import { type Findings, judgeContainer } from "./policy/policy.ts";
import { inOwnWords } from "./start-refusal.ts";
import { Claim } from "./warm/claim.ts";
import type { Pool } from "./warm/pool.ts";

export interface Creating {
  readonly sessionId: SessionId;
  readonly config: ContainerConfig;
  readonly pull: PullPolicy;
  readonly idempotencyKey: string;
}

/** What a creation needs of the link to the engine. */
export interface CreationEngine {
  /** Throws UNAVAILABLE when it can't be used. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** Clears away, as soon as that is possible, what a creation has left behind. */
  readonly clearAway: (id: ContainerId) => void;
  /** Takes what a new container writes from its start on. */
  readonly firstOutput: (id: ContainerId, attached: Attached) => void;
  /** Where containers wait that were prepared before they are asked for. */
  readonly pool: Pool;
}

/** How a container is to be made. */
interface Making {
  readonly pull: PullPolicy;
  readonly files: ReadonlyMap<string, FileIdentity>;
  readonly claim?: Claim | undefined;
}

/** Makes containers: the intent first, then the engine's work, then what the engine says of it. */
export class Creation {
  readonly #parts: ContainerParts;
  readonly #engine: CreationEngine;
  /** The creations under way, so that a closing session can end them. */
  readonly #underWay = new Map<ContainerId, AbortController>();

  constructor(parts: ContainerParts, engine: CreationEngine) {
    this.#parts = parts;
    this.#engine = engine;
  }

  /**
   * Makes and starts a container. When it fails, or its caller gives up, nothing is left of it.
   *
   * Failures: NOT_FOUND (session or image), FAILED_PRECONDITION (session closed, command can't be started),
   * INVALID_ARGUMENT, PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED (max_containers), ALREADY_EXISTS (idempotency key),
   * UNAVAILABLE (engine).
   */
  async create(creating: Creating, call: Call): Promise<Container> {
    const violations = configViolations(creating.config, this.#parts.limits);
    if (violations.length > 0) throw invalid("create a container", violations);
    const { image } = creating.config;
    const refusing = { doing: `Cannot create a container of image "${image}"`, field: "config.image" };
    this.#parts.images.refuse(image, refusing);
    // Before the intent: one that nobody can act on would stay, and count, until the engine is back.
    if (!(await this.#waits(creating.sessionId))) await this.#engine.ready(call.signal);
    // What was looked at is held until the container has it, or has not.
    await using found = await lookUp(creating.config, { ...this.#parts, signal: call.signal });
    using claim = await this.#prepared(creating, found);
    const id = claim?.id ?? (Bun.randomUUIDv7() as ContainerId); // this is where container ids are made
    const ending = new AbortController();
    this.#underWay.set(id, ending);
    try {
      using _held = claim === undefined ? await this.#parts.locks.hold(id, call.signal) : undefined;
      const intent = await this.#intend(id, { ...creating, found }, call);
      if ("refused" in intent) throw intent.refused;
      if ("again" in intent) {
        return (await this.#madeBefore(intent, call)) ?? (await this.create(creating, call));
      }
      if (intent.container.life.state === "waiting") return intent.container;
      const signal = AbortSignal.any([call.signal, ending.signal]);
      const how = { pull: creating.pull, files: found.files, claim };
      return await this.#makeOrUndo(intent, how, { ...call, signal });
    } finally {
      this.#underWay.delete(id);
    }
  }

  /** A prepared container that is what the request asks for, if there is one. */
  async #prepared({ sessionId, config, pull }: Creating, found: Findings): Promise<Claim | undefined> {
    const { store, defaults } = this.#parts;
    const session = await store.get(sessionTable, sessionId);
    // Labels are given once, and images pulled always are another one each time.
    const isOwn = Object.keys(config.labels).length > 0 || pull === "always";
    if (session === undefined || session.config.policy.requireApproval || isOwn) return undefined;
    const verdict = judgeContainer(config, { session, used: holdingsOf(session).limits, defaults, found });
    if (verdict.kind === "refused") return undefined;
    const { pool } = this.#engine;
    const taken = pool.take(verdict.spec);
    return taken && new Claim(taken, { pool, digest: pool.imageLooks.digest(config.image) });
  }

  /**
   * Makes and starts a container that waits for it; one that was approved before is no error. When it can't be made,
   * nothing is left of it; when policy refuses it, or the engine can't be reached, it goes on waiting.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION (it never had to wait, its session is closed), and those of `create`.
   */
  async approve(id: ContainerId, call: Call): Promise<Container> {
    const { store, clock, defaults, locks } = this.#parts;
    using _held = await locks.hold(id, call.signal);
    const wanted = { id, doing: "approve container" };
    const { config, sessionId, life } = knownContainer(await store.get(containerTable, id), wanted);
    if (life.state === "waiting") await this.#engine.ready(call.signal);
    const ending = new AbortController();
    this.#underWay.set(id, ending);
    try {
      await using found = await lookUp(config, { ...this.#parts, signal: call.signal });
      const { actor, correlationId } = call;
      const approving = { id, defaults, found, at: clock(), actor, correlationId, source: callSource };
      const decided = await store.change(
        {
          container: { table: containerTable, key: id },
          session: { table: sessionTable, key: sessionId },
        },
        (loaded) => approveContainer(loaded, approving),
      );
      if ("refused" in decided) throw decided.refused;
      if ("before" in decided) return decided.before;
      await this.#parts.touch(sessionId);
      const signal = AbortSignal.any([call.signal, ending.signal]);
      const pull = life.state === "waiting" ? life.pull : "missing";
      return await this.#makeOrUndo(decided, { pull, files: found.files }, { ...call, signal });
    } finally {
      this.#underWay.delete(id);
    }
  }

  async #makeOrUndo(intent: NewIntent, how: Making, call: Call): Promise<Container> {
    const { container } = intent;
    try {
      return await this.#make(intent, how, call);
    } catch (error) {
      const undoing = await this.#undo(container, error);
      // An engine that was not waited for may make it only now.
      if (undoing === "left" || mayStillBeMade(error, call.signal)) this.#engine.clearAway(container.id);
      throw await inOwnWords(error, { container, runtime: this.#parts.runtime });
    }
  }

  /** Whether a session's containers wait for approval: nothing is asked of the engine until then. */
  async #waits(id: SessionId): Promise<boolean> {
    const session = await this.#parts.store.get(sessionTable, id);
    return session?.config.policy.requireApproval === true;
  }

  /** Ends the creation of a container, if one is under way, with `reason` as its outcome. */
  abandon(id: ContainerId, reason: Failure): void {
    this.#underWay.get(id)?.abort(reason);
  }

  async #intend(
    id: ContainerId,
    creating: Creating & { readonly found: Findings },
    { actor, correlationId }: Call,
  ): Promise<Intent> {
    const { store, clock, limits, defaults, noticeMs } = this.#parts;
    const { sessionId, config, pull, found, idempotencyKey: key } = creating;
    const once =
      key === ""
        ? undefined
        : onceKey(key, { kind: "create_container", scope: sessionId, content: { config, pull } });
    const at = clock();
    return await store.change(
      {
        session: { table: sessionTable, key: sessionId },
        activity: { table: activityTable, key: sessionId },
        open: { table: counterTable, key: openContainers },
        answer: { table: answerTable, key: once?.row },
      },
      (loaded) => {
        const session = activeSession(loaded.session, {
          id: sessionId,
          doing: "create a container in session",
        });
        const wanted = { id, config, pull, found, once, at, limits, defaults, noticeMs };
        return intendContainer(
          { ...loaded, session },
          { ...wanted, actor, correlationId, source: callSource },
        );
      },
    );
  }

  async #make(intent: NewIntent, how: Making, call: Call): Promise<Container> {
    const { store, clock, times } = this.#parts;
    const within = AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
    const surround = () => makeSurroundings(this.#parts, intent.container, () => within);
    const claimed = await how.claim?.become(intent.hardened, { surround }, within);
    const { facts, attached } =
      claimed ?? (await makeInEngine(this.#parts, { ...intent, ...how, source: callSource }, call));
    const container = claimed === undefined ? intent.container : { ...intent.container, claimedAt: clock() };
    try {
      const { actor, correlationId } = call;
      const observing = { at: clock(), actor, correlationId, source: callSource, reason: "" };
      const made = await store.change(loadedWith(container), (loaded) =>
        observe({ container, ...loaded }, facts, observing),
      );
      if (made.life.state === "creating")
        throw new Failure("aborted", `Cannot create container "${container.id}": it was abandoned meanwhile`);
      if (attached !== undefined) this.#engine.firstOutput(container.id, attached);
      return made;
    } catch (error) {
      attached?.end();
      throw error;
    }
  }

  /** Leaves nothing behind. What the engine can't remove now is removed when it is next compared with the rows. */
  async #undo(container: Container, error: unknown): Promise<"undone" | "left"> {
    const { runtime, store, clock, times } = this.#parts;
    const call = systemCall(AbortSignal.timeout(times.operationMs));
    const reason = error instanceof Error ? error.message : String(error);
    try {
      // By its name: the engine may have made it although its answer never came.
      await runtime.remove(engineName(container.id), call.signal);
      await store.change(
        { ...loadedWith(container), open: { table: counterTable, key: openContainers } },
        (loaded) =>
          forget(
            { container, ...loaded },
            { ...call, at: clock(), source: callSource, reason, type: "container_error" },
          ),
      );
      return "undone";
    } catch (undoing) {
      // The creation's own error is what its caller has to hear.
      if (!(undoing instanceof Failure)) throw undoing;
      return "left";
    }
  }

  /**
   * The container that the same request has made before; waits for it while it is being made. `undefined` when nothing
   * came of it, so that it has to be made anew: it failed while this one waited, or a server before this one stopped in
   * the middle, which is cleared away.
   */
  async #madeBefore({ again: id, answerRow }: Repeated, call: Call): Promise<Container | undefined> {
    using _held = await this.#parts.locks.hold(id, call.signal);
    const container = await this.#parts.store.get(containerTable, id);
    if (container !== undefined && container.life.state !== "creating") return container;
    if (container !== undefined) {
      const stopped = new Failure("aborted", "the server stopped while it was being created");
      if ((await this.#undo(container, stopped)) === "undone") return undefined;
      throw new Failure(
        "unavailable",
        `Cannot create container "${id}" again: what the first request with this key has left can't be cleared away yet`,
      );
    }
    // A creation that fails takes its answer along.
    if ((await this.#parts.store.get(answerTable, answerRow))?.subject !== id) return undefined;
    throw new Failure("aborted", `Cannot create container "${id}" again: it was made and removed since`);
  }
}

/** Whether the engine may go on with what it was asked: nobody has heard how that ended. */
function mayStillBeMade(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted || (error instanceof Failure && error.kind === "unavailable");
}
