import { type Call, systemCall } from "../call.ts";
import type { Usage } from "../containers/usage.ts";
import type { Instant } from "../events/event.ts";
import { Failure, invalid } from "../failure.ts";
import { counterTable } from "../store/counters.ts";
import { changed, type Listing, put, type Store, unchanged } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import {
  type Agent,
  type AgentId,
  type AgentType,
  agentTable,
  knownAgent,
  liveAgents,
  registeredAgent,
} from "./agent.ts";
import {
  type AgentLimits,
  type Registration,
  type Report,
  reasonViolations,
  registrationViolations,
  reportViolations,
} from "./agent-limits.ts";
import { type AgentPage, listingOfLive } from "./agent-listing.ts";
import { type Deciding, loseAgent, registerAgent, returnAgent, unregisterAgent } from "./agent-rules.ts";
import { checkToken, newToken } from "./agent-token.ts";
import { type AgentView, type LiveAgent, nothingReported, Presence, type Present } from "./presence.ts";
import { usageTogether } from "./together.ts";

export interface AgentsOptions {
  readonly store: Store;
  readonly clock: () => Instant;
  /** Milliseconds of a clock that is never set, such as `performance.now`. */
  readonly monotonic: () => number;
  readonly limits: AgentLimits;
  /** How long an agent may be silent before it is lost, in milliseconds. */
  readonly graceMs: number;
}

/** What became of an agent, told after it is in the log. */
export interface AgentChange {
  /** `live`: it registered, or was lost and is back. The others speak for themselves. */
  readonly kind:
    | "live"
    | "lost"
    | "unregistered"
    | "line_opened"
    | "line_closed"
    | "takes_tasks"
    | "takes_no_tasks";
  readonly agent: Agent;
}

/** How an agent is heard of. */
interface Sign {
  /** The registration token, when one was presented. */
  readonly token: string | undefined;
  /** For messages: `take the heartbeat of agent`. */
  readonly doing: string;
}

/** How many silent agents are given up at a time. */
const lossesAtOnce = 256;

/** How old the time may be that a live agent's row says it was heard of, in milliseconds. */
const rowAgeMs = 60_000;

/** The use cases of agents. */
export class Agents {
  readonly #options: AgentsOptions;
  readonly #store: Store;
  readonly #presence: Presence;
  readonly #listeners = new Set<(change: AgentChange) => void>();

  constructor(options: AgentsOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#presence = new Presence(options);
  }

  /** Takes up the agents that were live when the server before this one ended: all of them have their grace to come back. */
  async takeUp(): Promise<void> {
    let after: PagePlace | undefined;
    do {
      const page = await this.#store.list(agentTable, { where: { state: "live" }, limit: 500, after });
      for (const agent of page.rows) this.#presence.add(agent, agent.heardAt);
      after = page.next;
    } while (after !== undefined);
  }

  /**
   * Makes an agent known. The token is told this once, and only its hash is kept.
   *
   * Failures: INVALID_ARGUMENT naming each wrong field, RESOURCE_EXHAUSTED at the bound on live agents.
   */
  async register(
    wanted: Registration & { readonly type: AgentType },
    call: Call,
  ): Promise<{ readonly agent: LiveAgent; readonly token: string }> {
    const violations = registrationViolations(wanted, this.#options.limits);
    if (violations.length > 0) throw invalid("register an agent", violations);
    const deciding = this.#deciding(call);
    const { token, hash } = newToken();
    const { name, type, metadata, capabilities } = wanted;
    const agent: Agent = {
      id: Bun.randomUUIDv7() as AgentId, // this is where agent ids are made
      ...{ name, type, metadata, capabilities },
      registeredAt: deciding.at,
      tokenHash: hash,
      heardAt: deciding.at,
      life: { state: "live" },
    };
    await this.#store.change({ live: { table: counterTable, key: liveAgents } }, (loaded) =>
      registerAgent(loaded, agent, { ...deciding, maxAgents: this.#options.limits.maxAgents }),
    );
    const present = this.#presence.add(agent);
    this.#tell({ kind: "live", agent });
    return { agent: this.#presence.viewOf(present), token };
  }

  /**
   * Signs an agent off; resolves to whether it was there until now.
   *
   * Failures: NOT_FOUND, UNAUTHENTICATED, INVALID_ARGUMENT.
   */
  async unregister(
    id: AgentId,
    off: { readonly reason: string; readonly token: string | undefined },
    call: Call,
  ): Promise<"signed_off" | "was_off"> {
    const violations = reasonViolations(off.reason);
    if (violations.length > 0) throw invalid("unregister an agent", violations);
    checkToken(
      knownAgent(await this.#store.get(agentTable, id), { id, doing: "unregister agent" }),
      off.token,
    );
    const present = this.#presence.get(id);
    if (present !== undefined) present.isLeaving = true;
    try {
      const heardAt = present?.heardAt ?? this.#options.clock();
      const change = { ...this.#deciding(call), id, reason: off.reason, heardAt };
      const { agent, news } = await this.#store.change(this.#rowsOf(id), (loaded) =>
        unregisterAgent(loaded, change),
      );
      this.#presence.remove(id);
      if (news === "signed_off") this.#tell({ kind: "unregistered", agent });
      return news;
    } finally {
      if (present !== undefined) present.isLeaving = false;
    }
  }

  /**
   * Takes a sign of life and what the agent says with it. One that was lost is back.
   *
   * Failures: NOT_FOUND (unknown or unregistered: register again), UNAUTHENTICATED, INVALID_ARGUMENT,
   * RESOURCE_EXHAUSTED when it was lost and there are as many agents as may be.
   */
  async heartbeat(
    id: AgentId,
    beat: { readonly report: Report; readonly token: string | undefined },
    call: Call,
  ): Promise<LiveAgent> {
    const violations = reportViolations(beat.report);
    if (violations.length > 0) throw invalid("take a heartbeat", violations);
    const present = await this.#heard(id, { token: beat.token, doing: "take the heartbeat of agent" }, call);
    const { takesTasks } = present.report;
    present.report = beat.report;
    if (takesTasks !== beat.report.takesTasks)
      this.#tell({ kind: takesTasks ? "takes_no_tasks" : "takes_tasks", agent: present.agent });
    return this.#presence.viewOf(present);
  }

  /** Counts as a sign of life, and brings an agent back that was lost. Failures: as of `heartbeat`. */
  async arrive(id: AgentId, sign: Sign, call: Call): Promise<LiveAgent> {
    return this.#presence.viewOf(await this.#heard(id, sign, call));
  }

  /** Counts as a sign of life of an agent that is live; says whether it is. */
  saw(id: AgentId): boolean {
    const present = this.#presence.get(id);
    if (present !== undefined) this.#presence.heard(present);
    return present !== undefined;
  }

  /** Whether an agent takes further tasks, as far as is known. */
  takesTasks(id: AgentId): boolean {
    return this.#presence.get(id)?.report.takesTasks !== false;
  }

  /** Whether an agent that is live said that it is at a task, when it last spoke of its tasks. */
  saysItIsAt(id: AgentId, taskId: string): boolean {
    return this.#presence.get(id)?.report.activeTasks.includes(taskId) === true;
  }

  isLive(id: AgentId): boolean {
    return this.#presence.get(id) !== undefined;
  }

  /** The agents that are live now. */
  live(): readonly LiveAgent[] {
    return this.#presence.all().map((present) => this.#presence.viewOf(present));
  }

  /** Failures: NOT_FOUND. */
  async get(id: AgentId): Promise<AgentView> {
    const present = this.#presence.get(id);
    if (present !== undefined) return this.#presence.viewOf(present);
    return this.#view(knownAgent(await this.#store.get(agentTable, id), { id, doing: "get agent" }));
  }

  /** Whether an agent is one that may come: it has not signed off, and is not forgotten. */
  async mayCome(id: AgentId): Promise<boolean> {
    if (this.isLive(id)) return true;
    const agent = await this.#store.get(agentTable, id);
    return agent !== undefined && agent.life.state !== "unregistered";
  }

  /** Agents, newest first. */
  async list(page: AgentPage): Promise<Listing<AgentView>> {
    const { filter, limit, after } = page;
    if (filter.state === "idle" || filter.state === "busy")
      return { ...listingOfLive(this.live(), page), position: this.#store.events.tail };
    const where = {
      ...(filter.type === undefined ? {} : { type: filter.type }),
      ...(filter.state === undefined ? {} : { state: ["lost", "unregistered"] }),
    };
    const query = {
      where,
      labels: filter.labels ?? {},
      limit,
      after,
      descending: true,
      total: true,
    } as const;
    const listing = await this.#store.list(agentTable, query);
    return { ...listing, rows: listing.rows.map((agent) => this.#view(agent)) };
  }

  /** What all that are live use together; undefined when none has said. */
  usage(): Usage | undefined {
    return usageTogether(this.#presence.all().flatMap(({ report }) => report.usage ?? []));
  }

  /** Has `tasksOf` asked for the tasks that an agent was given, whenever it is shown. */
  showTasks(tasksOf: (id: AgentId) => readonly string[]): void {
    this.#presence.tasksOf = tasksOf;
  }

  /** How many are live. */
  get count(): number {
    return this.#presence.size;
  }

  /** Calls `listener`, which must not throw, with what becomes of agents. Returns the way to stop. */
  onChange(listener: (change: AgentChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** An agent that was just heard of holds a line, and lives for as long as it does. Failures: NOT_FOUND when it has left. */
  lineOpened(id: AgentId): void {
    const present = this.#presence.get(id);
    if (present === undefined) throw left(id);
    present.line = "open";
    this.#tell({ kind: "line_opened", agent: present.agent });
  }

  /** Its grace begins now. */
  lineClosed(id: AgentId): void {
    const present = this.#presence.get(id);
    if (present === undefined) return;
    present.line = "none";
    this.#presence.heard(present);
    this.#tell({ kind: "line_closed", agent: present.agent });
  }

  /** An agent that is live holds a stream beside its line, and lives for as long. Call what it returns when that has ended. */
  streamOpened(id: AgentId): () => void {
    const present = this.#presence.get(id);
    if (present === undefined) return () => {};
    present.streams += 1;
    return () => {
      present.streams -= 1;
      this.#presence.heard(present);
    };
  }

  /** Gives up on those that were silent for too long. Asked every `everyMs` milliseconds. */
  async loseSilent(everyMs: number, signal: AbortSignal): Promise<void> {
    const silent = this.#presence.silent(this.#options.graceMs, everyMs);
    const losing = silent.slice(0, lossesAtOnce).map((present) => this.#lose(present, systemCall(signal)));
    await Promise.all([...losing, ...this.#staleRows().map((present) => this.#noteHeard(present))]);
  }

  async #heard(id: AgentId, { token, doing }: Sign, call: Call): Promise<Present> {
    const present = this.#presence.get(id);
    if (present !== undefined) {
      checkToken(present.agent, token);
      this.#presence.heard(present);
      if (!present.isLeaving) return present;
    }
    checkToken(registeredAgent(await this.#store.get(agentTable, id), { id, doing }), token);
    const back = { ...this.#deciding(call), id, doing, maxAgents: this.#options.limits.maxAgents };
    const { agent, news } = await this.#store.change(this.#rowsOf(id), (loaded) => returnAgent(loaded, back));
    const arrived = this.#presence.add(agent);
    if (news === "back") this.#tell({ kind: "live", agent });
    return arrived;
  }

  async #lose(present: Present, call: Call): Promise<void> {
    const { id } = present.agent;
    present.isLeaving = true;
    try {
      const lost = await this.#store.change(this.#rowsOf(id), (loaded) => {
        const silentMs = this.#presence.silenceOf(present);
        if (silentMs < this.#options.graceMs) return unchanged(undefined); // it was heard of in the meantime
        return loseAgent(loaded, { ...this.#deciding(call), heardAt: present.heardAt, silentMs });
      });
      if (lost === undefined) return;
      this.#presence.remove(id);
      this.#tell({ kind: "lost", agent: lost });
    } finally {
      present.isLeaving = false;
    }
  }

  #staleRows(): readonly Present[] {
    const stale = this.#presence.all().filter(({ agent, heardAt }) => heardAt - agent.heardAt >= rowAgeMs);
    return stale.slice(0, lossesAtOnce);
  }

  /** Keeps for the next server when an agent was heard of: of those that beat, as of a minute before. */
  async #noteHeard(present: Present): Promise<void> {
    const { heardAt } = present;
    const { id } = present.agent;
    const noted = await this.#store.change({ agent: { table: agentTable, key: id } }, ({ agent }) => {
      if (agent?.life.state !== "live") return unchanged(undefined);
      const next = { ...agent, heardAt };
      return changed(next, [put(agentTable, next)]);
    });
    if (noted !== undefined) present.agent = noted;
  }

  #view(agent: Agent): AgentView {
    const present = agent.life.state === "live" ? this.#presence.get(agent.id) : undefined;
    if (present !== undefined) return this.#presence.viewOf(present);
    return { agent, heardAt: agent.heardAt, report: nothingReported, line: "none" };
  }

  #rowsOf(id: AgentId) {
    return { agent: { table: agentTable, key: id }, live: { table: counterTable, key: liveAgents } } as const;
  }

  #deciding(call: Call): Deciding {
    return { at: this.#options.clock(), actor: call.actor, correlationId: call.correlationId };
  }

  #tell(change: AgentChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function left(id: AgentId): Failure {
  return new Failure(
    "not_found",
    `Cannot open the line of agent "${id}": it has just left; it has to register again`,
    {
      reason: "AGENT_UNREGISTERED",
      metadata: { agent_id: id },
    },
  );
}
