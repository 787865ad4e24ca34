import type { Instant } from "../events/event.ts";
import {
  agentOf,
  type Cancel,
  holds,
  isEnded,
  isLeased,
  type Leased,
  type Task,
  type TaskConfig,
  type TaskError,
  type TaskResult,
  type Unfinished,
} from "./task.ts";

// The state machine of a task, and nothing else: no clock, no store, no agents. Every function takes a task and what
// happened to it, and gives the task after that with what is to be told of it. What a fenced attempt sends, and what
// comes for a task that has ended, changes nothing: the same task comes back, and nothing is told.

/** What every task is treated by. Milliseconds. */
export interface TaskPolicy {
  /** From an attempt's begin to TIMEOUT, for a task that sets none; 0: without end. */
  readonly defaultTimeoutMs: number;
  /** From its acceptance to TIMEOUT, for a task that sets none; 0: without end. */
  readonly defaultDeadlineMs: number;
  /** How long a task that was handed out may wait to be begun. */
  readonly beginTimeoutMs: number;
  /** How long a worker has to give up a task that was cancelled. */
  readonly cancelGraceMs: number;
  /** The pause before the first retry, doubled for each one after it up to the most. */
  readonly retryDelayMs: number;
  readonly maxRetryDelayMs: number;
}

/** What has happened, for the log. */
export interface Told {
  readonly type: "task_created" | "task_updated" | "task_completed" | "task_failed";
  /** The agent that it is about, where there is one. */
  readonly agentId: string;
  readonly data: Readonly<Record<string, string>>;
}

/** A task after something happened to it. */
export interface Step {
  readonly task: Task;
  readonly told: readonly Told[];
}

/** A task as it is accepted: it waits. */
export function acceptedTask(
  asked: Pick<Task, "id" | "sessionId" | "name" | "type" | "priority" | "wantedAgent" | "config">,
  accept: { readonly at: Instant; readonly policy: TaskPolicy },
): Step {
  const { at, policy } = accept;
  const deadlineMs = asked.config.deadlineNs / nsPerMs || policy.defaultDeadlineMs;
  const task: Task = {
    ...asked,
    createdAt: at,
    deadlineAt: deadlineMs === 0 ? null : at + Math.max(1, Math.round(deadlineMs)),
    attempt: 0,
    begun: 0,
    progress: 0,
    outputBytes: 0,
    outputKeptBytes: 0,
    isInputCut: false,
    life: { state: "queued", notBefore: null, reason: "" },
  };
  const data = { state: "queued", name: task.name, task_type: task.type, priority: task.priority };
  return { task, told: [{ type: "task_created", agentId: task.wantedAgent, data }] };
}

/** Hands a waiting task to an agent, under the next number. One that does not wait, or not yet, stays as it is. */
export function leaseTask(
  task: Task,
  lease: { readonly agentId: string; readonly at: Instant; readonly policy: TaskPolicy },
): Step {
  const { life } = task;
  if (life.state !== "queued" || (life.notBefore !== null && life.notBefore > lease.at)) return same(task);
  const next: Task = {
    ...task,
    attempt: task.attempt + 1,
    progress: 0,
    life: {
      state: "pending",
      agentId: lease.agentId,
      since: lease.at,
      beginBy: lease.at + lease.policy.beginTimeoutMs,
      startedAt: null,
      timeoutAt: null,
      outputFrom: task.outputBytes,
      cancel: null,
    },
  };
  return updated(next, {});
}

/** The worker of an attempt has shown itself: the task runs. */
export function beginTask(
  task: Task,
  begin: { readonly attempt: number; readonly at: Instant; readonly policy: TaskPolicy },
): Step {
  if (!holds(task, begin.attempt) || task.life.state !== "pending") return same(task);
  const timeoutMs = timeoutOf(task.config, begin.policy);
  const next: Task = {
    ...task,
    begun: task.begun + 1,
    life: {
      ...task.life,
      state: "running",
      startedAt: begin.at,
      timeoutAt: timeoutMs === 0 ? null : begin.at + timeoutMs,
    },
  };
  return updated(next, {});
}

/** Its worker holds it, or goes on. */
export function holdTask(
  task: Task,
  hold: { readonly attempt: number; readonly state: "running" | "paused"; readonly reason: string },
): Step {
  if (!holds(task, hold.attempt) || task.life.state === "pending" || task.life.state === hold.state)
    return same(task);
  return updated({ ...task, life: { ...task.life, state: hold.state } }, reasonData(hold.reason));
}

/** How far its worker says that it is. What is behind what was said before changes nothing: progress does not go back. */
export function advanceTask(
  task: Task,
  advance: { readonly attempt: number; readonly progress: number },
): Step {
  if (!holds(task, advance.attempt) || !(advance.progress > task.progress)) return same(task);
  return { task: { ...task, progress: Math.min(1, advance.progress) }, told: [] };
}

/** It ended well. */
export function completeTask(
  task: Task,
  complete: { readonly attempt: number; readonly result: TaskResult; readonly at: Instant },
): Step {
  if (!holds(task, complete.attempt)) return same(task);
  const { at, result } = complete;
  const { agentId, startedAt } = task.life;
  const next: Task = {
    ...task,
    progress: 1,
    life: { state: "completed", at, agentId, startedAt: startedAt ?? at, result },
  };
  const data = { state: "completed", attempt: String(task.attempt), exit_code: String(result.exitCode) };
  return { task: next, told: [{ type: "task_completed", agentId, data }] };
}

/** Its worker says that it failed: again if the task wants that, otherwise it has failed. */
export function failAttempt(
  task: Task,
  fail: {
    readonly attempt: number;
    readonly error: TaskError;
    readonly at: Instant;
    readonly policy: TaskPolicy;
    /** 0 to 1. */
    readonly random: number;
  },
): Step {
  if (!holds(task, fail.attempt)) return same(task);
  const { error, at } = fail;
  if (task.life.cancel !== null) return cancelled(task, task.life.cancel, at);
  if (!task.config.retryOnFailure || task.begun > task.config.maxRetries)
    return ended(task, "failed", { error, at });
  const reason = `attempt ${task.attempt} failed: ${error.message || error.code}`;
  return waitAgain(task, { ...fail, reason, delayMs: retryDelayMs(task.begun, fail.policy, fail.random) });
}

/** Its worker has given up because it was told to, or of its own accord. */
export function giveUpTask(
  task: Task,
  giveUp: { readonly attempt: number; readonly reason: string; readonly at: Instant },
): Step {
  if (!holds(task, giveUp.attempt)) return same(task);
  const asked = task.life.cancel;
  const by = task.life.agentId;
  return cancelled(task, asked ?? { reason: giveUp.reason || "its worker gave it up", by }, giveUp.at);
}

/**
 * The worker of an attempt is gone. One that had not begun goes back to the queue as if it had never left it; one that had
 * is tried again while retries are left, the first time at once.
 */
export function loseAttempt(
  task: Task,
  lose: {
    readonly attempt: number;
    readonly reason: string;
    readonly at: Instant;
    readonly policy: TaskPolicy;
    /** 0 to 1. */
    readonly random: number;
  },
): Step {
  if (!holds(task, lose.attempt)) return same(task);
  const { at } = lose;
  if (task.life.cancel !== null) return cancelled(task, task.life.cancel, at);
  const reason = `attempt ${task.attempt} was lost: ${lose.reason}`;
  if (task.life.state === "pending") return waitAgain(task, { reason, at, delayMs: 0 });
  if (task.begun > task.config.maxRetries) {
    return ended(task, "failed", { error: errorOf("WORKER_LOST", reason, at), at });
  }
  const delayMs = task.begun === 1 ? 0 : retryDelayMs(task.begun - 1, lose.policy, lose.random);
  return waitAgain(task, { reason, at, delayMs });
}

/** It can't be tried again, whatever retries are left: it has failed. */
function failTask(task: Task, fail: { readonly error: TaskError; readonly at: Instant }): Step {
  return isEnded(task) ? same(task) : ended(task, "failed", fail);
}

/** It waits for an agent that does not come, and for no other: it has failed. One that does not wait stays as it is. */
export function failWithoutAgent(task: Task, fail: { readonly agentId: string; readonly at: Instant }): Step {
  if (task.life.state !== "queued") return same(task);
  const { agentId, at } = fail;
  const message = `agent ${agentId}, which it was asked of, has signed off`;
  return ended(task, "failed", { error: errorOf("AGENT_UNREGISTERED", message, at), at });
}

/** More input has come than is kept. */
export function cutInput(task: Task): Step {
  return isEnded(task) || task.isInputCut ? same(task) : { task: { ...task, isInputCut: true }, told: [] };
}

/** Another attempt would not get all of its input: it has failed. */
export function failWithoutInput(task: Task, { at }: { readonly at: Instant }): Step {
  const message = "more input has come than is kept for another attempt";
  return failTask(task, { error: errorOf("INPUT_NOT_KEPT", message, at), at });
}

/**
 * Somebody wants it given up: one that waits is over at once; one that was handed out when its worker says so, or when
 * the worker's time for that is over. `force` doesn't wait for the worker.
 */
export function cancelTask(
  task: Task,
  cancel: {
    readonly reason: string;
    readonly by: string;
    readonly how: "graceful" | "force";
    readonly at: Instant;
    readonly policy: TaskPolicy;
  },
): Step {
  if (isEnded(task)) return same(task);
  const { reason, by, at } = cancel;
  if (!isLeased(task) || cancel.how === "force") return cancelled(task, { reason, by }, at);
  if (task.life.cancel !== null) return same(task);
  const endsAt = at + cancel.policy.cancelGraceMs;
  const next: Task = { ...task, life: { ...task.life, cancel: { reason, by, endsAt } } };
  return updated(next, { cancelling: "true", ...reasonData(reason) });
}

/** What time has done to it: its deadline or time-out has come, its worker had its time to give up or to begin. */
export function ageTask(
  task: Task,
  age: { readonly at: Instant; readonly policy: TaskPolicy; readonly random: number },
): Step {
  const { at } = age;
  if (isEnded(task)) return same(task);
  const { life, deadlineAt } = task;
  if (isLeased(task) && isDue(task.life.cancel?.endsAt, at) && task.life.cancel !== null)
    return cancelled(task, task.life.cancel, at);
  if (isDue(deadlineAt, at)) {
    const seconds = ((deadlineAt ?? at) - task.createdAt) / 1_000;
    const was = life.state === "queued" ? "it still waited for an agent" : `it was ${life.state}`;
    const message = `its deadline has passed ${seconds} s after it was asked for; ${was}`;
    return ended(task, "timeout", { error: errorOf("DEADLINE_EXCEEDED", message, at), at });
  }
  if (life.state === "queued" && isDue(life.notBefore, at))
    return { task: { ...task, life: { ...life, notBefore: null } }, told: [] };
  if (!isLeased(task)) return same(task);
  if (isDue(task.life.timeoutAt, at)) {
    const seconds = ((task.life.timeoutAt ?? at) - (task.life.startedAt ?? at)) / 1_000;
    const message = `it ran for ${seconds} s, which is all the time that it had`;
    return ended(task, "timeout", { error: errorOf("TIMEOUT", message, at), at });
  }
  if (task.life.state === "pending" && at >= task.life.beginBy) {
    const seconds = (task.life.beginBy - task.life.since) / 1_000;
    return loseAttempt(task, { ...age, attempt: task.attempt, reason: `nobody began it in ${seconds} s` });
  }
  return same(task);
}

/** When time does something to it next: when it has to be looked at again. `null`: never. */
export function dueAt(task: Task): Instant | null {
  if (isEnded(task)) return null;
  const { life, deadlineAt } = task;
  const times = [
    deadlineAt,
    ...(life.state === "queued" ? [life.notBefore] : []),
    ...(isLeased(task)
      ? [
          task.life.timeoutAt,
          task.life.cancel?.endsAt ?? null,
          life.state === "pending" ? task.life.beginBy : null,
        ]
      : []),
  ].filter((time) => time !== null);
  return times.length === 0 ? null : Math.min(...times);
}

/** When its time will be over as things stand; `null`: never. */
export function expiresAt(task: Task): Instant | null {
  const times = [task.deadlineAt, isLeased(task) ? task.life.timeoutAt : null].filter(
    (time) => time !== null,
  );
  return times.length === 0 ? null : Math.min(...times);
}

/** The pause before retry number `retry`, from 1: doubling, and of that between half and the whole. */
function retryDelayMs(retry: number, policy: TaskPolicy, random: number): number {
  const whole = Math.min(policy.retryDelayMs * 2 ** Math.min(retry - 1, 40), policy.maxRetryDelayMs);
  return Math.round(whole * (0.5 + random / 2));
}

function errorOf(code: string, message: string, at: Instant): TaskError {
  return { code, message, details: [], stackTrace: "", occurredAt: at };
}

const nsPerMs = 1_000_000;

/** Milliseconds; 0: without end. */
function timeoutOf({ timeoutNs, constraints }: TaskConfig, policy: TaskPolicy): number {
  const ns = [timeoutNs, constraints?.maxExecutionTimeNs ?? 0].filter((time) => time > 0);
  return ns.length === 0 ? policy.defaultTimeoutMs : Math.max(1, Math.round(Math.min(...ns) / nsPerMs));
}

function waitAgain(
  task: Task & { readonly life: Leased },
  wait: { readonly reason: string; readonly at: Instant; readonly delayMs: number },
): Step {
  const { reason, at, delayMs } = wait;
  const notBefore = delayMs === 0 ? null : at + delayMs;
  const next: Task = { ...task, life: { state: "queued", notBefore, reason } };
  const retry = notBefore === null ? {} : { not_before: new Date(notBefore).toISOString() };
  return {
    task: next,
    told: [{ ...updateOf(next, { ...retry, reason }), agentId: task.life.agentId }],
  };
}

function cancelled(task: Task, cancel: Pick<Cancel, "reason" | "by">, at: Instant): Step {
  const message = cancel.reason || "The task was cancelled (no reason given)";
  return ended(task, "cancelled", { error: errorOf("CANCELLED", message, at), at });
}

function ended(
  task: Task,
  state: Unfinished["state"],
  { error, at }: { readonly error: TaskError; readonly at: Instant },
): Step {
  const startedAt = isLeased(task) ? task.life.startedAt : null;
  const agentId = agentOf(task);
  const next: Task = { ...task, life: { state, at, startedAt, agentId, error } };
  const { code, message } = error;
  const data = { state, attempt: String(task.attempt), code, reason: message.slice(0, maxReasonLength) };
  return { task: next, told: [{ type: "task_failed", agentId, data }] };
}

/** How much of a worker's words goes into the log, in UTF-16 units. */
const maxReasonLength = 1_024;

function updated(task: Task, data: Readonly<Record<string, string>>): Step {
  return { task, told: [updateOf(task, data)] };
}

function updateOf(task: Task, data: Readonly<Record<string, string>>): Told {
  const { state } = task.life;
  return {
    type: "task_updated",
    agentId: agentOf(task),
    data: { state, attempt: String(task.attempt), ...data },
  };
}

function reasonData(reason: string): Readonly<Record<string, string>> {
  return reason === "" ? {} : { reason: reason.slice(0, maxReasonLength) };
}

function isDue(time: Instant | null | undefined, at: Instant): boolean {
  return time !== null && time !== undefined && time <= at;
}

function same(task: Task): Step {
  return { task, told: [] };
}
