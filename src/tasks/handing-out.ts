import type { Agent } from "../agents/agent.ts";
import type { AgentMessage } from "../agents/agent-message.ts";
import type { Background } from "../background.ts";
import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { orAborted } from "../or-aborted.ts";
import { endWithSession, isOfClosed } from "./closed-sessions.ts";
import { OwedMoves } from "./owed-moves.ts";
import { Schedule, type Waiting } from "./schedule.ts";
import { type SeatedAgent, Seats } from "./seats.ts";
import { agentOf, isLeased, type Leased, type Task, type TaskId } from "./task.ts";
import { systemChange, type TaskChange, type TaskChanges } from "./task-changes.ts";
import { failWithoutAgent, failWithoutInput, leaseTask, loseAttempt, type TaskPolicy } from "./task-rules.ts";
import { Telling } from "./telling.ts";

export interface HandingOutOptions {
  readonly changes: TaskChanges;
  readonly clock: () => Instant;
  readonly random: () => number;
  readonly background: Background;
  readonly policy: TaskPolicy;
  readonly ageingMs: number;
  /** Puts a message on an agent's line. Failures: it has none, or it is full. */
  readonly deliver: (agentId: string, message: AgentMessage) => void;
  /** Whether an agent that is live takes further tasks. */
  readonly takesTasks: (agentId: string) => boolean;
  /** Hears that a task waits for an agent that is not live. Must not throw. */
  readonly onAbsent: (agentId: string) => void;
}

/** How long a task that could not be handed out waits until it is tried again, in milliseconds: the disk has refused it. */
const againMs = 1_000;
/** How many are handed out at the same time: an agent may have as many seats as there are tasks. */
const leasesAtOnce = 1_024;

/** Which of the waiting tasks goes to which agent, and what becomes of those that an agent has. */
export class HandingOut {
  readonly #options: HandingOutOptions;
  readonly #schedule: Schedule;
  readonly #seats = new Seats();
  /** Agents that are live; those of them that are there, too, have seats. */
  readonly #live = new Map<string, Agent>();
  /** The tasks that an agent has. */
  readonly #held = new Map<string, Map<TaskId, Task & { readonly life: Leased }>>();
  readonly #telling: Telling;

  /** What tasks have to become whose agents are gone. */
  readonly #owed: OwedMoves;
  /** How many tasks are being handed out, and the agents that could take more. */
  #leasing = 0;
  readonly #hungry = new Set<string>();

  constructor(options: HandingOutOptions) {
    this.#options = options;
    this.#telling = new Telling(options.deliver);
    this.#owed = new OwedMoves(options.changes, options.background);
    this.#schedule = new Schedule(options.ageingMs);
  }

  /** How many tasks wait. */
  get waiting(): number {
    return this.#schedule.size;
  }

  /** A live agent. */
  agent(id: string): Agent | undefined {
    return this.#live.get(id);
  }

  /** The sessions of which tasks are with agents. */
  sessionsAtWork(): ReadonlySet<string> {
    const sessions = new Set<string>();
    for (const tasks of this.#held.values())
      for (const { sessionId } of tasks.values()) if (sessionId !== "") sessions.add(sessionId);
    return sessions;
  }

  /** The agent that has a task has been told of it. */
  told(task: Task & { readonly life: Leased }): void {
    this.#telling.told(task);
  }

  /** Whether the agent that has a task may know of it. */
  isTold(task: Task): boolean {
    return this.#telling.isTold(task);
  }

  /** The tasks that an agent has and has not begun. */
  pendingOf(agentId: string): readonly (Task & { readonly life: Leased })[] {
    return [...this.heldBy(agentId)].filter(({ life }) => life.state === "pending");
  }

  /** The tasks that an agent has. */
  heldBy(agentId: string): readonly (Task & { readonly life: Leased })[] {
    return [...(this.#held.get(agentId)?.values() ?? [])];
  }

  /** A task, if this agent has it. */
  held(agentId: string, id: string): (Task & { readonly life: Leased }) | undefined {
    return this.#held.get(agentId)?.get(id as TaskId); // what is none is held by nobody
  }

  /** How many tasks are with agents. */
  get handedOut(): number {
    let count = 0;
    for (const tasks of this.#held.values()) count += tasks.size;
    return count;
  }

  /** An agent for a task that is just being made, if one has a seat and nobody is before it; its seat is taken. */
  reserve(task: Pick<Waiting, "wantedAgent" | "type">): string | undefined {
    const agent = this.#seats.bestFor(task);
    if (agent === undefined || this.#schedule.hasFor(agent)) return undefined;
    this.#seats.take(agent.id);
    return agent.id;
  }

  /** The seat of a task that was not made. */
  release(agentId: string): void {
    this.#seats.free(agentId);
    this.#planFor(agentId);
  }

  /** A task was made; when it was leased at once, its seat was reserved. */
  made(task: Task): void {
    if (isLeased(task)) this.#hold(task);
    else this.#enqueue(task, { as: "fresh" });
  }

  /** Takes up what the server before this one has left. */
  takeUp(task: Task): void {
    if (isLeased(task)) {
      const { agentId } = task.life;
      this.#seats.take(agentId);
      this.#heldOf(agentId).set(task.id, task);
      if (!this.#live.has(agentId)) this.lose(task, `agent ${agentId} was gone`);
    } else if (task.life.state === "queued" && task.life.notBefore === null) {
      this.#enqueue(task, { as: "fresh", at: task.createdAt });
    }
  }

  /** A task has become another. */
  changed({ before, after }: TaskChange): void {
    if (isLeased(before) && !(isLeased(after) && after.attempt === before.attempt))
      this.#letGo(before, after);
    if (isLeased(after)) {
      if (isLeased(before) && before.attempt === after.attempt) this.#keep(before, after);
      else this.#hold(after);
    }
    if (after.life.state !== "queued") this.#schedule.remove(after.id);
    else if (after.life.notBefore === null) this.#enqueue(after, { as: "returned", lostBy: agentOf(before) });
  }

  /** An agent registered, or was lost and is back. */
  arrived(agent: Agent): void {
    this.#live.set(agent.id, agent);
    this.seen(agent.id);
  }

  /** An agent was live when the server before this one ended; whether it still is there has to be seen. */
  expected(agent: Agent): void {
    this.#live.set(agent.id, agent);
  }

  /** A live agent has shown that it is there: it can be given tasks. */
  seen(agentId: string): void {
    const agent = this.#live.get(agentId);
    if (agent === undefined || this.#seats.get(agentId) !== undefined) return;
    if (!this.#options.takesTasks(agentId)) return;
    this.#seats.arrived(agent, this.#telling.hasLine(agentId));
    this.#planFor(agentId);
  }

  lineOpened(agent: Agent): void {
    this.#live.set(agent.id, agent);
    this.#telling.lineOpened(agent.id);
    this.#seats.left(agent.id);
    for (const task of this.pendingOf(agent.id)) this.#telling.announce(task);
    this.seen(agent.id);
  }

  lineClosed(agentId: string): void {
    this.#telling.lineClosed(agentId);
    this.doubted(agentId);
  }

  /** There may be room on an agent's line: it is told what it was not told yet. */
  hasRoom(agentId: string): void {
    this.#telling.hasRoom(agentId, (id) => this.held(agentId, id));
  }

  /** It may be gone, unless it has a line: it is given nothing until it is seen again, and keeps what it has. */
  doubted(agentId: string): void {
    if (!this.#telling.hasLine(agentId)) this.#seats.left(agentId);
  }

  /** It begins no further task for now: it is given none until it says otherwise. */
  closed(agentId: string): void {
    this.#seats.left(agentId);
  }

  /** An agent that takes nothing more has not begun a task, and is not about to. */
  giveBack(task: Task & { readonly life: Leased }): void {
    this.lose(task, `agent ${task.life.agentId} takes no more tasks for now`);
  }

  /** It is gone, and loses what it has. */
  gone(agentId: string, reason: string): void {
    this.#live.delete(agentId);
    this.#telling.lineClosed(agentId);
    this.#seats.left(agentId);
    for (const task of this.heldBy(agentId)) this.lose(task, reason);
  }

  /** The tasks that wait for this agent and no other have failed: it does not come. */
  failWaitingFor(agentId: string): void {
    const step = (now: Task, at: Instant) => failWithoutAgent(now, { agentId, at });
    for (const task of this.#schedule.askedOf(agentId))
      this.#owed.add({ task, step, changing: systemChange("fail task") });
  }

  /** Takes an attempt from its worker. */
  lose(task: Task, reason: string): void {
    const { random, policy } = this.#options;
    const { attempt } = task;
    this.#owed.add({
      task,
      step: (now, at) => loseAttempt(now, { attempt, reason, at, policy, random: random() }),
      changing: systemChange("lose the worker of task"),
    });
  }

  /** Why a task waits, in words. */
  reasonFor(task: Task): string {
    const { life, wantedAgent, type } = task;
    if (life.state !== "queued") return "";
    const before = life.reason === "" ? "" : `${life.reason}; `;
    if (life.notBefore !== null)
      return `${before}the next attempt is made at ${new Date(life.notBefore).toISOString()}`;
    return `${before}${this.#whyNobody({ wantedAgent, type })}`;
  }

  #whyNobody(task: Pick<Waiting, "wantedAgent" | "type">): string {
    if (task.wantedAgent !== "") {
      const agent = this.#seats.get(task.wantedAgent);
      if (agent === undefined)
        return `agent "${task.wantedAgent}" ${this.#whyWithoutSeats(task.wantedAgent)}`;
      return `agent "${task.wantedAgent}" is at ${agent.taken} tasks, and takes ${agent.seats}`;
    }
    const able = this.#seats.able(task.type);
    if (able === 0) return `no agent that can do "${task.type.replaceAll("_", "-")}" is there`;
    return `each of the ${able} agents that can do "${task.type.replaceAll("_", "-")}" has as many tasks as it takes`;
  }

  #whyWithoutSeats(agentId: string): string {
    return this.#live.has(agentId) && !this.#options.takesTasks(agentId)
      ? "takes no tasks for now"
      : "is not there";
  }

  /** Lets a task wait: since `at`, by default from now on. Who had it before gets it again only if nobody else can take it now. */
  #enqueue(
    task: Waiting,
    come: { readonly as: "fresh" | "returned"; readonly at?: Instant; readonly lostBy?: string },
  ): void {
    const { id, sessionId, type, priority, wantedAgent } = task;
    if (this.#schedule.has(id)) return;
    const { as, at = this.#options.clock(), lostBy } = come;
    this.#schedule.add({ id, sessionId, type, priority, wantedAgent }, { at, as });
    if (wantedAgent !== "" && !this.#live.has(wantedAgent)) this.#options.onAbsent(wantedAgent);
    const agent = this.#seats.bestFor(task, lostBy);
    if (agent !== undefined) this.#plan(agent);
  }

  #planFor(agentId: string): void {
    const agent = this.#seats.get(agentId);
    if (agent !== undefined) this.#plan(agent);
  }

  /** Gives an agent what it can take. */
  #plan(agent: SeatedAgent): void {
    while (this.#seats.hasFree(agent.id)) {
      if (this.#leasing >= leasesAtOnce) {
        this.#hungry.add(agent.id);
        return;
      }
      const task = this.#schedule.take(agent, this.#options.clock());
      if (task === undefined) return;
      this.#seats.take(agent.id);
      this.#leasing += 1;
      this.#options.background.start("hand out a task", (signal) => this.#lease(task, agent.id, signal));
    }
  }

  async #lease(task: Waiting, agentId: string, signal: AbortSignal): Promise<void> {
    const { changes, policy } = this.#options;
    try {
      const { after } = await changes.move(
        task,
        (now, at, session) => {
          if (isOfClosed(now, session)) return endWithSession(now, { session, at, policy });
          if (now.begun > 0 && now.isInputCut) return failWithoutInput(now, { at });
          return leaseTask(now, { agentId, at, policy });
        },
        systemChange("hand out task"),
      );
      this.#leasing -= 1;
      if (!isLeased(after) || after.life.agentId !== agentId) this.release(agentId); // it was cancelled in the meantime
    } catch (error) {
      this.#leasing -= 1;
      this.#seats.free(agentId);
      if (!(error instanceof Failure)) throw error;
      if (error.kind !== "not_found") {
        await orAborted(Bun.sleep(againMs), signal);
        this.#enqueue(task, { as: "returned" });
      }
      this.#planFor(agentId);
    }
    this.#planHungry();
  }

  /** Goes on with those who had to wait because too many tasks were being handed out. */
  #planHungry(): void {
    for (const agentId of this.#hungry) {
      if (this.#leasing >= leasesAtOnce) return;
      this.#hungry.delete(agentId);
      this.#planFor(agentId);
    }
  }

  #heldOf(agentId: string): Map<TaskId, Task & { readonly life: Leased }> {
    const held = this.#held.get(agentId) ?? new Map<TaskId, Task & { readonly life: Leased }>();
    this.#held.set(agentId, held);
    return held;
  }

  #hold(task: Task & { readonly life: Leased }): void {
    const { agentId } = task.life;
    this.#heldOf(agentId).set(task.id, task);
    // It may have gone while its task was being saved.
    if (!this.#live.has(agentId)) this.lose(task, `agent ${agentId} was gone before it heard of it`);
    else if (!this.#options.takesTasks(agentId)) this.giveBack(task);
    else this.#telling.announce(task);
  }

  #keep(before: Task & { readonly life: Leased }, after: Task & { readonly life: Leased }): void {
    this.#heldOf(after.life.agentId).set(after.id, after);
    if (before.life.cancel === null && after.life.cancel !== null) {
      this.#telling.cancel(after, { reason: after.life.cancel.reason, isForced: false });
    }
  }

  #letGo(before: Task & { readonly life: Leased }, after: Task): void {
    const { agentId } = before.life;
    const held = this.#heldOf(agentId);
    held.delete(before.id);
    if (held.size === 0) this.#held.delete(agentId);
    this.#seats.free(agentId);
    const { life } = after;
    // Its worker may still be at it, and knows nothing of the end.
    if (life.state === "cancelled" || life.state === "timeout") {
      this.#telling.cancel(before, { reason: life.error.message, isForced: true });
    }
    this.#telling.forget(before);
    this.#planFor(agentId);
  }
}
