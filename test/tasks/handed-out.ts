import type { Agent, AgentId } from "../../src/agents/agent.ts";
import type { AgentMessage } from "../../src/agents/agent-message.ts";
import type { Background } from "../../src/background.ts";
import { Failure } from "../../src/failure.ts";
import { changed, type Decision, type Loaded, type Loads, put } from "../../src/store/store.ts";
import { HandingOut } from "../../src/tasks/handing-out.ts";
import type { Task, TaskId, TaskState } from "../../src/tasks/task.ts";
import { TaskChanges } from "../../src/tasks/task-changes.ts";
import { censusRow, censusTable, counted, taskTable } from "../../src/tasks/task-rows.ts";
import { acceptedTask, cancelTask } from "../../src/tasks/task-rules.ts";
import { metadata } from "../agents/agent-parts.ts";
import { MemoryStore } from "../store/memory-store.ts";

/** HandingOut over a store of its own, without a server around it. */
export interface HandedOut {
  readonly store: TightStore;
  readonly changes: TaskChanges;
  readonly background: Background;
  readonly handing: HandingOut;
  /** Says whether a message can be delivered now, and takes it; by default none can. */
  deliver: (agentId: string, message: AgentMessage) => void;
  agent(of: { readonly seats: number }): Agent;
  /** Makes tasks that wait. */
  make(
    count: number,
    of?: { readonly wantedAgent?: string; readonly sessionId?: string },
  ): Promise<readonly Task[]>;
  /** Cancels a task by force. */
  cancel(task: Task | undefined): Promise<void>;
  countOf(state: TaskState): number;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

export function startHandingOut({ mostWaiting }: { readonly mostWaiting: number }): HandedOut {
  const store = new TightStore(mostWaiting);
  const tasks = new Map<TaskId, Task>();
  const running = new Set<Promise<void>>();
  const clock = Date.now;
  const changes = new TaskChanges({
    store,
    clock,
    noticeMs: 0,
    onChanged: (change) => {
      tasks.set(change.after.id, change.after);
      parts.handing.changed(change);
    },
    outputOf: () => undefined,
  });
  const background: Background = {
    start: (_name, work) => {
      const one = work(new AbortController().signal).catch(() => undefined);
      running.add(one);
      void one.then(() => running.delete(one));
    },
  };
  const parts: HandedOut = {
    ...{ store, changes, background },
    handing: new HandingOut({
      ...{ changes, clock, random: () => 0.5, policy: taskPolicy, ageingMs: 60_000 },
      background,
      deliver: (agentId, message) => parts.deliver(agentId, message),
      onAbsent: () => {},
      takesTasks: () => true,
    }),
    deliver: () => {
      throw new Failure("not_found", "Cannot pass a message: there is no line");
    },
    agent: ({ seats }) => ({
      id: Bun.randomUUIDv7() as AgentId,
      name: "worker",
      type: "worker",
      metadata: metadata(),
      capabilities: {
        supportedTasks: ["custom"],
        supportedTools: [],
        maxConcurrentTasks: seats,
        limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
        supportsStreaming: false,
        supportsCancellation: false,
        supportedProtocols: [],
      },
      registeredAt: clock(),
      tokenHash: "",
      heardAt: clock(),
      life: { state: "live" },
    }),
    make: async (count, { wantedAgent = "", sessionId = "" } = {}) => {
      const made = Array.from({ length: count }, () => {
        const id = Bun.randomUUIDv7() as TaskId;
        const asked = { id, sessionId, name: "x", type: "custom", priority: "normal" } as const;
        return acceptedTask(
          { ...asked, wantedAgent, config: taskConfig },
          { at: clock(), policy: taskPolicy },
        ).task;
      });
      const rows = made.map((task) => put(taskTable, task));
      await store.change({ census: { table: censusTable, key: censusRow } }, ({ census }) => {
        const after = made.reduce((before, task) => counted(before, undefined, task) ?? before, census);
        return changed(undefined, [...rows, ...(after === undefined ? [] : [put(censusTable, after)])]);
      });
      for (const task of made) {
        tasks.set(task.id, task);
        parts.handing.made(task);
      }
      return made;
    },
    cancel: async (task) => {
      if (task === undefined) throw new Error("there is no such task");
      const cancel = { reason: "", by: "", how: "force", at: clock(), policy: taskPolicy } as const;
      const changing = { source: "tasks", actor: "", correlationId: "", doing: "cancel task" } as const;
      await changes.move(task, (now) => cancelTask(now, cancel), changing);
    },
    countOf: (state) => [...tasks.values()].filter(({ life }) => life.state === state).length,
    idle: async () => {
      while (running.size > 0) await Promise.all(running);
    },
  };
  return parts;
}

/** A store that refuses what is more than it takes at a time, and everything while it is full. */
class TightStore extends MemoryStore {
  isFull = false;
  refused = 0;
  readonly #most: number;
  readonly #refusal = Promise.withResolvers<void>();
  #waiting = 0;

  constructor(most: number) {
    super();
    this.#most = most;
  }

  /** Resolves when it has refused something. */
  get refusal(): Promise<void> {
    return this.#refusal.promise;
  }

  override async change<Names extends Loads, Result>(
    load: Names,
    decide: (loaded: Loaded<Names>) => Decision<Result>,
  ): Promise<Result> {
    if (this.isFull || this.#waiting >= this.#most) {
      this.refused += 1;
      this.#refusal.resolve();
      throw new Failure("resource_exhausted", "Cannot save the change: there is no room");
    }
    this.#waiting += 1;
    try {
      return await super.change(load, decide);
    } finally {
      this.#waiting -= 1;
    }
  }
}

export const taskPolicy = {
  defaultTimeoutMs: 0,
  defaultDeadlineMs: 0,
  beginTimeoutMs: 60_000,
  cancelGraceMs: 1_000,
  retryDelayMs: 1,
  maxRetryDelayMs: 2,
};

export const taskConfig: Task["config"] = {
  command: "x",
  arguments: [],
  environment: {},
  workingDirectory: "",
  timeoutNs: 0,
  deadlineNs: 0,
  maxRetries: 0,
  retryOnFailure: false,
  inputDataBytes: 0,
  parameters: {},
  constraints: null,
};
