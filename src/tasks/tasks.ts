import { agentTable, registeredAgent } from "../agents/agent.ts";
import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { invalid } from "../failure.ts";
import { activityTable, sessionTable } from "../sessions/session.ts";
import { answerTable, onceKey } from "../store/answers.ts";
import type { Listing, Store } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import { acceptTask } from "./accept-task.ts";
import type { AskedTask } from "./asked-task.ts";
import type { HandingOut } from "./handing-out.ts";
import type { LiveTasks } from "./live-tasks.ts";
import {
  isEnded,
  isLeased,
  openStates,
  type Task,
  type TaskId,
  type TaskPriority,
  type TaskState,
  type TaskType,
} from "./task.ts";
import type { TaskChanges } from "./task-changes.ts";
import { reasonViolations, type TaskLimits, taskViolations } from "./task-limits.ts";
import {
  censusRow,
  censusTable,
  countOf,
  kindsOf,
  knownTask,
  type TaskData,
  taskDataKey,
  taskDataTable,
  taskTable,
} from "./task-rows.ts";
import { acceptedTask, cancelTask, leaseTask, type TaskPolicy } from "./task-rules.ts";

export interface TaskFilter {
  readonly agentId?: string;
  readonly state?: TaskState;
  readonly type?: TaskType;
  readonly priority?: TaskPriority;
  readonly sessionId?: string;
  /** At or after. */
  readonly createdAfter?: number;
  /** Before. */
  readonly createdBefore?: number;
}

export interface TasksOptions {
  readonly store: Store;
  readonly clock: () => number;
  readonly limits: TaskLimits;
  readonly policy: TaskPolicy;
  /** As SessionsOptions has it. Milliseconds. */
  readonly noticeMs: number;
  readonly changes: TaskChanges;
  readonly live: LiveTasks;
  readonly handing: HandingOut;
  /** Hears of every time at which a task has to be looked at again. */
  readonly onDue: (task: Task) => void;
}

/** What a session says of its tasks; ids. */
export interface TaskContext {
  /** Empty: none. */
  readonly currentTaskId: string;
  readonly taskHistory: readonly string[];
}

/** A task with what a reader wants to know besides its row. */
export interface TaskView {
  readonly task: Task;
  /** Why it waits, or is being given up; empty otherwise. */
  readonly reason: string;
  readonly outputBytes: number;
  /** How many of the first bytes of its output are kept. */
  readonly keptBytes: number;
  readonly inputData: Uint8Array | undefined;
  readonly result: Pick<TaskData, "data" | "outputText" | "errorText"> | undefined;
}

/** The use cases of those who ask for tasks. */
export class Tasks {
  readonly #options: TasksOptions;
  readonly #store: Store;

  constructor(options: TasksOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /**
   * Accepts a task; it is durable when this resolves, and handed to an agent as soon as one can take it.
   *
   * Failures: INVALID_ARGUMENT naming each wrong field; NOT_FOUND when the named session or agent is not there;
   * FAILED_PRECONDITION when the session is closing or closed; RESOURCE_EXHAUSTED when too many tasks wait;
   * ALREADY_EXISTS when the idempotency key stands for another request.
   */
  async execute(asked: AskedTask, call: Call): Promise<Task> {
    const { clock, limits, policy, handing, live } = this.#options;
    const violations = taskViolations(asked, limits);
    if (violations.length > 0) throw invalid("execute a task", violations);
    const { idempotencyKey: key, inputData, ...rest } = asked;
    const content = { ...rest, inputData: inputData.byteLength === 0 ? "" : hashOf(inputData) };
    const once = key === "" ? undefined : onceKey(key, { kind: "execute_task", scope: call.actor, content });
    const at = clock();
    // Ids are in the order of their times, and so are listings.
    const id = Bun.randomUUIDv7("hex", at) as TaskId; // this is where task ids are made
    const accepted = acceptedTask({ ...rest, id, name: nameOf(asked) }, { at, policy });
    const agentId = handing.reserve(asked);
    const leased = agentId === undefined ? undefined : leaseTask(accepted.task, { agentId, at, policy });
    const accepting = {
      ...{ at, actor: call.actor, correlationId: call.correlationId, once, inputData },
      ...{ noticeMs: this.#options.noticeMs, isFull: handing.waiting >= limits.maxQueued, limits },
      task: leased?.task ?? accepted.task,
      told: [...accepted.told, ...(leased?.told ?? [])],
    };
    let isMade = false;
    try {
      const session = asked.sessionId === "" ? undefined : asked.sessionId;
      const made = await this.#store.change(
        {
          session: { table: sessionTable, key: session },
          activity: { table: activityTable, key: session },
          agent: { table: agentTable, key: asked.wantedAgent === "" ? undefined : asked.wantedAgent },
          answer: { table: answerTable, key: once?.row },
          census: { table: censusTable, key: censusRow },
        },
        (loaded) => {
          if (asked.wantedAgent !== "")
            registeredAgent(loaded.agent, { id: asked.wantedAgent, doing: "execute a task on agent" });
          return acceptTask(loaded, accepting);
        },
      );
      if (made !== id) return await this.get(made);
      isMade = true;
    } finally {
      if (!isMade && agentId !== undefined) handing.release(agentId);
    }
    live.made(accepting.task);
    handing.made(accepting.task);
    this.#options.onDue(accepting.task);
    return accepting.task;
  }

  /** Failures: NOT_FOUND. */
  async get(id: TaskId): Promise<Task> {
    return knownTask(await this.#store.get(taskTable, id), { id, doing: "get task" });
  }

  /** A task with all that belongs to it. Failures: NOT_FOUND. */
  async view(id: TaskId): Promise<TaskView> {
    const task = await this.get(id);
    const [input, result] = await Promise.all([
      task.config.inputDataBytes === 0 ? undefined : this.#data(id, "input_data"),
      task.life.state === "completed" ? this.#data(id, "result") : undefined,
    ]);
    return {
      ...this.viewOf(task),
      inputData: input === undefined ? undefined : Buffer.from(input.data, "base64"),
      result,
    };
  }

  /** A task as a listing has it: without what it was given and what it gave. */
  viewOf(task: Task): TaskView {
    const live = this.#options.live.get(task.id);
    return {
      task,
      reason: this.#reasonOf(task),
      outputBytes: live?.output.total ?? task.outputBytes,
      keptBytes: live?.output.kept ?? task.outputKeptBytes,
      inputData: undefined,
      result: undefined,
    };
  }

  /** Tasks, newest first. */
  async list(page: {
    readonly filter: TaskFilter;
    readonly limit: number;
    readonly after?: PagePlace | undefined;
  }): Promise<Listing<Task>> {
    const { filter, limit, after } = page;
    const { agentId, state, type, priority, sessionId, createdAfter, createdBefore } = filter;
    const wanted = {
      ...(state === undefined ? {} : { state }),
      ...(type === undefined ? {} : { type }),
      ...(priority === undefined ? {} : { priority }),
    };
    const census = await this.#store.get(censusTable, censusRow);
    const isRange = createdAfter !== undefined || createdBefore !== undefined;
    const range = {
      ...(createdAfter === undefined ? {} : { gte: firstIdAt(createdAfter) }),
      ...(createdBefore === undefined ? {} : { lt: firstIdAt(createdBefore) }),
    };
    const where = {
      ...(agentId === undefined ? {} : { agentId }),
      ...(sessionId === undefined ? {} : { sessionId }),
      ...(agentId === undefined && Object.keys(wanted).length === 0 ? {} : { kind: kindsOf(census, wanted) }),
      ...(isRange ? { key: range } : {}),
    };
    const query = { where, limit, after, descending: true } as const;
    // The census knows how many there are without a walk over them; of the others no more are counted than costs little.
    if (agentId !== undefined || sessionId !== undefined || isRange)
      return await this.#store.list(taskTable, { ...query, total: mostCounted });
    return { ...(await this.#store.list(taskTable, query)), total: countOf(census, wanted) };
  }

  async count(of: Pick<TaskFilter, "state" | "type" | "priority">): Promise<number> {
    const { state, type, priority } = of;
    return countOf(await this.#store.get(censusTable, censusRow), {
      ...(state === undefined ? {} : { state }),
      ...(type === undefined ? {} : { type }),
      ...(priority === undefined ? {} : { priority }),
    });
  }

  /** How many have not ended, and how many of those agents have. */
  async countOpen(): Promise<{ readonly open: number; readonly handedOut: number }> {
    const counts = await Promise.all(openStates.map((state) => this.count({ state })));
    const open = counts.reduce((sum, count) => sum + count, 0);
    return { open, handedOut: this.#options.handing.handedOut };
  }

  /** What a session says of its tasks: the newest that has not ended, and its newest, the oldest of them first. */
  async contextOf(sessionId: string): Promise<TaskContext> {
    const query = { where: { sessionId }, limit: mostHistory, descending: true } as const;
    const { rows } = await this.#store.list(taskTable, query);
    const current = rows.find((task) => !isEnded(task));
    return { currentTaskId: current?.id ?? "", taskHistory: rows.map(({ id }) => id).toReversed() };
  }

  /**
   * Asks for a task to be given up. One that waits is over at once; one that an agent has when its worker says so, when
   * its worker's stream ends, or after a while. One that has ended stays as it is.
   *
   * Failures: NOT_FOUND, INVALID_ARGUMENT.
   */
  async cancel(
    id: TaskId,
    options: { readonly reason: string; readonly how: "graceful" | "force" },
    call: Pick<Call, "actor" | "correlationId">,
  ): Promise<{ readonly task: Task; readonly isCancelled: boolean }> {
    const { reason, how } = options;
    const violations = reasonViolations(reason, "reason");
    if (violations.length > 0) throw invalid("cancel a task", violations);
    const { changes, policy } = this.#options;
    const { actor, correlationId } = call;
    const task = await this.get(id);
    const { after } = await changes.move(
      task,
      (now, at) => cancelTask(now, { reason, by: actor, how, at, policy }),
      { source: "agent.grpc", actor, correlationId, doing: "cancel task" },
    );
    return { task: after, isCancelled: !isEnded(after) || after.life.state === "cancelled" };
  }

  async resultOf(id: TaskId): Promise<TaskData | undefined> {
    return await this.#data(id, "result");
  }

  #reasonOf(task: Task): string {
    if (task.life.state === "queued") return this.#options.handing.reasonFor(task);
    if (isEnded(task)) return task.life.state === "completed" ? "" : task.life.error.message;
    if (!isLeased(task) || task.life.cancel === null) return "";
    return `is being cancelled: ${task.life.cancel.reason}`;
  }

  async #data(id: TaskId, kind: TaskData["kind"]): Promise<TaskData | undefined> {
    return await this.#store.get(taskDataTable, taskDataKey(id, kind));
  }
}

/** How many of a session's, of an agent's or of some time are counted. */
const mostCounted = 10_000;

/** What the ids of tasks that were made at a time, or after it, do not come before. */
function firstIdAt(at: Instant): string {
  if (at >= 2 ** 48) return "g"; // behind them all
  const hex = Math.max(0, Math.ceil(at)).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

/** How many of a session's tasks it names. */
const mostHistory = 100;

/** What a task is called whose caller gave it no name: by what it runs, or by what it is. */
function nameOf({ name, config, type }: AskedTask): string {
  if (name !== "") return name;
  return [config.command, ...config.arguments].join(" ").trim().slice(0, 64).toWellFormed() || type;
}

function hashOf(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}
