import { Schedule, suits } from "../../src/tasks/schedule.ts";
import {
  holds,
  isEnded,
  isLeased,
  type Task,
  type TaskId,
  type TaskPriority,
  type TaskType,
  taskPriorities,
} from "../../src/tasks/task.ts";
import {
  acceptedTask,
  advanceTask,
  ageTask,
  beginTask,
  cancelTask,
  completeTask,
  dueAt,
  failAttempt,
  giveUpTask,
  holdTask,
  leaseTask,
  loseAttempt,
  type Step,
  type TaskPolicy,
} from "../../src/tasks/task-rules.ts";

const policy: TaskPolicy = {
  defaultTimeoutMs: 0,
  defaultDeadlineMs: 0,
  beginTimeoutMs: 2_000,
  cancelGraceMs: 500,
  retryDelayMs: 100,
  maxRetryDelayMs: 1_600,
};

const ageingMs = 5_000;

/** An agent of the world: what it can do, how much at a time, and which attempts it believes that it has. */
interface WorldAgent {
  readonly id: string;
  readonly types: readonly TaskType[];
  readonly seats: number;
  isThere: boolean;
  /** Attempts that it was given, also those that it has lost since and does not know of. */
  readonly believes: { readonly id: TaskId; readonly attempt: number }[];
}

/** How a task that is asked for is. */
export interface Asked {
  readonly session: number;
  readonly type: TaskType;
  readonly priority: TaskPriority;
  readonly maxRetries: number;
  readonly retryOnFailure: boolean;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly named: boolean;
}

/** What one agent sends for an attempt that it believes to have. */
export type Report = "begin" | "advance" | "pause" | "resume" | "complete" | "fail" | "give_up";

/** How often each thing came about, so that a run can show that it came to all of them. */
export const counts: Record<string, number> = {};

/**
 * Everything about tasks but the disk and the wire: the rules, the schedule, agents that work, go and lie, callers, time, and
 * crashes that leave nothing but the rows. Each act is checked: `problems` says what should never be.
 */
export class TaskWorld {
  readonly problems: string[] = [];
  readonly tasks = new Map<TaskId, Task>();
  readonly agents: WorldAgent[];
  now = 1_000_000;
  #schedule = new Schedule(ageingMs);
  /** How each task ended, when it did. */
  readonly #ends = new Map<TaskId, string>();
  readonly #leases = new Map<TaskId, Set<number>>();
  #ids = 0;

  constructor(agents: readonly Pick<WorldAgent, "types" | "seats">[]) {
    this.agents = agents.map((agent, at) => ({ ...agent, id: `a${at}`, isThere: true, believes: [] }));
  }

  ask(asked: Asked): void {
    this.#ids += 1;
    const id = `t${this.#ids}` as TaskId;
    const step = acceptedTask(
      {
        ...{ id, name: id, type: asked.type, priority: asked.priority },
        sessionId: `s${asked.session}`,
        wantedAgent: asked.named ? (this.agents[0]?.id ?? "") : "",
        config: {
          ...{ command: "", arguments: [], environment: {}, workingDirectory: "", parameters: {} },
          timeoutNs: asked.timeoutMs * 1e6,
          deadlineNs: asked.deadlineMs * 1e6,
          maxRetries: asked.maxRetries,
          retryOnFailure: asked.retryOnFailure,
          inputDataBytes: 0,
          constraints: null,
        },
      },
      { at: this.now, policy },
    );
    this.tasks.set(id, step.task);
    this.#enqueue(step.task, "fresh");
    count("asked");
    this.#handOut();
  }

  /** An agent says something of an attempt that it believes to have, whether it still has it or not. */
  report(agentAt: number, believed: number, report: Report): void {
    const agent = this.agents[agentAt % this.agents.length];
    const belief = agent?.believes[believed % Math.max(1, agent.believes.length)];
    const task = belief && this.tasks.get(belief.id);
    if (belief === undefined || task === undefined) return;
    const { attempt } = belief;
    const isFenced = !holds(task, attempt);
    const step = this.#reported(task, attempt, report);
    if (isFenced) {
      count("reports of fenced attempts");
      if (step.task !== task || step.told.length > 0)
        this.#wrong(task, `a fenced ${report} has changed something`);
    } else count(`reports: ${report}`);
    this.#become(task, step);
  }

  /** An agent is gone, with or without a word; it may believe what it likes from then on. */
  lose(agentAt: number): void {
    const agent = this.agents[agentAt % this.agents.length];
    if (agent === undefined || !agent.isThere) return;
    agent.isThere = false;
    count("agents lost");
    for (const task of this.tasks.values()) {
      if (!isLeased(task) || task.life.agentId !== agent.id) continue;
      const { attempt } = task;
      this.#become(task, loseAttempt(task, { attempt, reason: "gone", at: this.now, policy, random: 0.5 }));
    }
    this.#handOut();
  }

  comeBack(agentAt: number): void {
    const agent = this.agents[agentAt % this.agents.length];
    if (agent === undefined || agent.isThere) return;
    agent.isThere = true;
    this.#handOut();
  }

  /** The stream of one attempt has ended, and was not opened again. */
  silence(at: number): void {
    const leased = [...this.tasks.values()].filter(isLeased);
    const task = leased[at % Math.max(1, leased.length)];
    if (task === undefined) return;
    const { attempt } = task;
    count("attempts lost");
    this.#become(task, loseAttempt(task, { attempt, reason: "silent", at: this.now, policy, random: 0.5 }));
  }

  cancel(at: number, how: "graceful" | "force"): void {
    const task = [...this.tasks.values()][at % Math.max(1, this.tasks.size)];
    if (task === undefined) return;
    count(`cancels, ${how}`);
    this.#become(task, cancelTask(task, { reason: "enough", by: "caller", how, at: this.now, policy }));
  }

  /** Time passes, and does what it does to those whose time has come. */
  pass(ms: number): void {
    this.now += ms;
    for (const task of this.tasks.values()) {
      const due = dueAt(task);
      if (due === null || due > this.now) continue;
      const step = ageTask(task, { at: this.now, policy, random: 0.5 });
      if (step.task === task)
        this.#wrong(task, `it is due since ${this.now - due} ms, and nothing becomes of it`);
      this.#become(task, step);
    }
    this.#handOut();
  }

  /** The server dies: only the rows are left. Its successor makes everything else of them. */
  crash(): void {
    count("crashes");
    this.#schedule = new Schedule(ageingMs);
    for (const task of this.tasks.values()) this.#enqueue(task, "fresh");
    this.#handOut();
  }

  /** Lets everything come to its end: agents are there and do their work, and time passes. */
  settle(): void {
    for (const agent of this.agents) agent.isThere = true;
    for (let round = 0; round < 20_000; round += 1) {
      this.#handOut();
      const open = [...this.tasks.values()].filter((task) => !isEnded(task));
      if (open.length === 0) return;
      const leased = open.filter(isLeased);
      for (const task of leased) {
        this.#become(task, this.#reported(task, task.attempt, "begin"));
        const begun = this.tasks.get(task.id) ?? task;
        this.#become(begun, this.#reported(begun, begun.attempt, "complete"));
      }
      // What waits for a time, or for an agent that there is none of.
      if (leased.length === 0) {
        const able = open.some((task) => this.agents.some((agent) => suits(task, agent)));
        if (!able && open.every((task) => dueAt(task) === null)) return;
        this.pass(500);
      }
    }
    this.problems.push("something never comes to its end");
  }

  get ended(): number {
    return this.#ends.size;
  }

  #reported(task: Task, attempt: number, report: Report): Step {
    const at = this.now;
    switch (report) {
      case "begin":
        return beginTask(task, { attempt, at, policy });
      case "advance":
        return advanceTask(task, { attempt, progress: ((at * 7919) % 1_000) / 999 });
      case "pause":
        return holdTask(task, { attempt, state: "paused", reason: "" });
      case "resume":
        return holdTask(task, { attempt, state: "running", reason: "" });
      case "complete": {
        const result = { exitCode: 0, metadata: {}, completedAt: null, executionDurationNs: 0 };
        return completeTask(task, { attempt, result, at });
      }
      case "fail": {
        const error = { code: "E", message: "no", details: [], stackTrace: "", occurredAt: at };
        return failAttempt(task, { attempt, error, at, policy, random: 0.5 });
      }
      case "give_up":
        return giveUpTask(task, { attempt, reason: "no more", at });
    }
  }

  /** What the server does with a step, and what has to hold of every one. */
  #become(before: Task, step: Step): void {
    const after = step.task;
    if (after === before) {
      if (step.told.length > 0) this.#wrong(before, "nothing has changed, and something is told");
      return;
    }
    this.tasks.set(after.id, after);
    this.#checkStep(before, step);
    if (after.life.state === "queued" && after.life.notBefore === null) this.#enqueue(after, "returned");
    if (after.life.state !== "queued") this.#schedule.remove(after.id);
    this.#checkAll();
    if (isLeased(before) && !isLeased(after)) this.#handOut();
  }

  #checkStep(before: Task, { task, told }: Step): void {
    const { id } = task;
    if (isEnded(before)) this.#wrong(task, `it had ended as ${before.life.state}, and has become another`);
    if (isEnded(task)) {
      const ends = told.filter(({ type }) => type === "task_completed" || type === "task_failed");
      if (ends.length !== 1) this.#wrong(task, `its end is told ${ends.length} times`);
      if (this.#ends.has(id)) this.#wrong(task, "it ends twice");
      this.#ends.set(id, task.life.state);
      count(`ended: ${task.life.state}`);
    }
    if (task.attempt !== before.attempt) {
      const leases = this.#leases.get(id) ?? new Set();
      if (leases.has(task.attempt)) this.#wrong(task, `attempt ${task.attempt} is given out twice`);
      if (task.attempt !== before.attempt + 1) this.#wrong(task, "an attempt's number is left out");
      if (isLeased(before)) this.#wrong(task, "it is leased while it is leased");
      this.#leases.set(id, leases.add(task.attempt));
    }
    if (task.attempt === before.attempt && task.progress < before.progress)
      this.#wrong(task, "its progress goes back");
    if (isLeased(before) && task.life.state === "queued") count("waits again");
  }

  #checkAll(): void {
    const taken = new Map<string, number>();
    for (const task of this.tasks.values()) {
      const { id, life, config } = task;
      if (task.begun > 1 + config.maxRetries) this.#wrong(task, `${task.begun} attempts have begun`);
      if (isLeased(task)) taken.set(task.life.agentId, (taken.get(task.life.agentId) ?? 0) + 1);
      const waits = life.state === "queued" && life.notBefore === null;
      if (waits !== this.#schedule.has(id))
        this.#wrong(task, waits ? "it waits, and nobody knows" : "it is in the schedule, and does not wait");
      if (!(task.progress >= 0 && task.progress <= 1)) this.#wrong(task, `its progress is ${task.progress}`);
    }
    for (const agent of this.agents) {
      const tasks = taken.get(agent.id) ?? 0;
      if (tasks > agent.seats)
        this.problems.push(`agent ${agent.id} has ${tasks} tasks and ${agent.seats} seats`);
    }
  }

  #enqueue(task: Task, as: "fresh" | "returned"): void {
    const { life } = task;
    if (life.state === "queued" && life.notBefore === null) this.#schedule.add(task, { at: this.now, as });
  }

  #handOut(): void {
    for (const agent of this.agents) {
      if (!agent.isThere) continue;
      for (;;) {
        const held = [...this.tasks.values()].filter(
          (task) => isLeased(task) && task.life.agentId === agent.id,
        );
        if (held.length >= agent.seats) break;
        const best = this.#mostUrgent(agent);
        const waiting = this.#schedule.take(agent, this.now);
        if (waiting === undefined) {
          if (best !== undefined) this.problems.push(`agent ${agent.id} gets nothing while something waits`);
          break;
        }
        const task = this.tasks.get(waiting.id);
        if (task === undefined) throw new Error("what waits is a task");
        if (!suits(task, agent)) this.#wrong(task, `agent ${agent.id} gets it, who can't do it`);
        const step = leaseTask(task, { agentId: agent.id, at: this.now, policy });
        if (step.task === task) this.#wrong(task, "it is taken from those that wait, and can't be leased");
        count("leases");
        agent.believes.push({ id: task.id, attempt: step.task.attempt });
        this.tasks.set(task.id, step.task);
        this.#checkStep(task, step);
        this.#checkAll();
      }
    }
  }

  #mostUrgent(agent: WorldAgent): Task | undefined {
    return [...this.tasks.values()]
      .filter(({ life }) => life.state === "queued" && life.notBefore === null)
      .filter((task) => suits(task, agent))
      .toSorted((one, other) => rankOf(other) - rankOf(one))[0];
  }

  #wrong(task: Task, what: string): void {
    this.problems.push(`task ${task.id} (${task.life.state}, attempt ${task.attempt}): ${what}`);
  }
}

function rankOf({ priority }: Task): number {
  return taskPriorities.indexOf(priority);
}

function count(what: string): void {
  counts[what] = (counts[what] ?? 0) + 1;
}
