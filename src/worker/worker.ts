import { hostname } from "node:os";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AgentIdentity } from "../client/agent-identity.ts";
import { holdLine } from "../client/agent-line.ts";
import { pause } from "../client/backoff.ts";
import type { Headers } from "../client/call-options.ts";
import type { Client } from "../client/client.ts";
import { TaskStrands } from "../client/task-strands.ts";
import { Failure } from "../failure.ts";
import {
  type AgentMessage,
  AgentType,
  ControlCommand,
  type ControlMessage,
  MessageType,
  type Task,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { orAborted } from "../or-aborted.ts";
import { type RunTask, TaskEnded } from "./running-task.ts";
import { TaskAtWork, type TaskReport } from "./task-at-work.ts";

/** What a worker can do. */
interface WorkerCapabilities {
  /** Names of task types, such as `code-execution`. */
  readonly tasks: readonly string[];
  /** Names of tools. */
  readonly tools?: readonly string[];
  /** Tasks at one time; 1 by default. */
  readonly maxConcurrentTasks?: number;
}

export interface WorkerOptions {
  readonly client: Client;
  /** For people, and for those who look for it. */
  readonly name: string;
  readonly version?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly capabilities: WorkerCapabilities;
  /** Comes back as this agent, if the server still knows it. */
  readonly agentId?: string;
  /** Does one task; called for several at a time when `maxConcurrentTasks` says so. */
  readonly run: RunTask;
  /** Its abort drains, as the order SHUTDOWN does: no further task is begun, those at work have `drainMs` to end, then the worker signs off. */
  readonly signal: AbortSignal;
  /** Milliseconds; 30,000 by default. What has not ended by then is given back. */
  readonly drainMs?: number;
  /** Its abort ends a drain at once. */
  readonly hurry?: AbortSignal;
  /** Milliseconds between two heartbeats; by default what the server asks for. */
  readonly heartbeatMs?: number;
  /** Told of what a person may want to know. */
  readonly onNews?: (news: WorkerNews) => void;
}

export type WorkerNews =
  | { readonly what: "registered"; readonly agentId: string }
  | { readonly what: "ready"; readonly agentId: string }
  | { readonly what: "interrupted"; readonly why: string; readonly againInMs: number }
  | { readonly what: "task_begun"; readonly taskId: string }
  | { readonly what: "task_over"; readonly taskId: string; readonly report: TaskReport }
  /** It takes no further tasks until it is told to go on. */
  | { readonly what: "paused"; readonly tasks: readonly string[] }
  | { readonly what: "resumed" }
  | { readonly what: "draining"; readonly tasks: readonly string[] };

/**
 * Is a worker until `signal` aborts: registers, takes the tasks that the server hands it, and has `run` do them. Comes
 * back by itself after a lost connection and after a restart of the server, and keeps what it was doing for as long as
 * the server has it do that.
 *
 * Failures: UNAVAILABLE with the reason UNREACHABLE when there is no server to begin with; INVALID_ARGUMENT when the
 * server does not take its name or capabilities; ABORTED when another process came with the same `agentId`.
 *
 * @example
 * await runWorker({
 *   client,
 *   name: "shouter",
 *   capabilities: { tasks: ["custom"] },
 *   signal: stop.signal,
 *   run: async ({ task, input, write, signal }) => {
 *     await write(`${new TextDecoder().decode(task.config?.inputData).toUpperCase()}\n`);
 *     return { exitCode: 0 };
 *   },
 * });
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  await new Worker(options).run();
}

/** Between two heartbeats, for a server that does not say how often. Milliseconds. */
const HEARTBEAT_MS = 10_000;

/** How often the server wants to hear of an agent, in the trailers of Register and Heartbeat. */
const INTERVAL_TRAILER = "x-baaaht-heartbeat-interval-ms";

const DRAIN_MS = 30_000;

/** How long what was given back has to put itself away, and signing off may take. Milliseconds. */
const LEAVE_MS = 5_000;

/**
 * How long the server's word that an attempt is this worker's is enough to begin it, in milliseconds. What has lain longer,
 * because the worker was stopped or was still putting the attempt before away, may be somebody else's by now.
 */
const IN_FORCE_MS = 1_000;

/** A task that was handed to this worker, as it was told of it. */
interface Given {
  readonly taskId: string;
  readonly attempt: string;
  /** All of it, where the server has sent it along, and when it was handed out: milliseconds since 1970. */
  readonly whole?: { readonly task: Task; readonly at: number } | undefined;
}

class Worker {
  readonly #client: Client;
  readonly #options: WorkerOptions;
  readonly #atWork = new Map<string, { readonly task: TaskAtWork; readonly done: Promise<void> }>();
  /** Attempts that came while one before at the same task is still being put away. */
  readonly #again = new Map<string, Given>();
  readonly #identity: AgentIdentity;
  readonly #strands: TaskStrands;
  /** Aborts when the server, or another agent, tells this one to stop. */
  readonly #shutdown = new AbortController();
  /** Aborts when no more tasks are taken. */
  readonly #drainSignal: AbortSignal;
  /** Says at once what it is at, and whether it takes more; made when the server knows it. */
  #sayNow: () => void = () => {};
  #isPaused = false;
  #intervalMs = HEARTBEAT_MS;

  constructor(options: WorkerOptions) {
    this.#client = options.client;
    this.#options = options;
    const { name, version = "", labels = {}, capabilities, agentId } = options;
    this.#identity = new AgentIdentity(options.client, {
      agentId,
      registration: {
        name,
        type: AgentType.WORKER,
        metadata: { version, labels: { ...labels }, hostname: hostname(), pid: String(process.pid) },
        capabilities: {
          supportedTasks: [...capabilities.tasks],
          supportedTools: [...(capabilities.tools ?? [])],
          maxConcurrentTasks: capabilities.maxConcurrentTasks ?? 1,
          supportsStreaming: true,
          supportsCancellation: true,
        },
      },
      registered: (id) => this.#tell({ what: "registered", agentId: id }),
      lost: ({ message }, againInMs) => this.#tell({ what: "interrupted", why: message, againInMs }),
      onTrailers: (trailers) => this.#heedInterval(trailers),
    });
    this.#strands = new TaskStrands(options.client, () => this.#identity.metadata);
    this.#drainSignal = AbortSignal.any([options.signal, this.#shutdown.signal]);
  }

  async run(): Promise<void> {
    await using _strands = this.#strands;
    const signal = this.#drainSignal;
    const over = new AbortController(); // the end of line and heartbeats, after the drain
    const serving = this.#serve(over.signal);
    try {
      await orAborted(serving, signal);
    } catch (error) {
      if (!signal.aborted) {
        await this.#leave(new TaskEnded("left", "its worker has failed"));
        throw error;
      }
    }
    await this.#drain();
    over.abort();
    await serving.catch(() => undefined); // it ends by the abort
    await this.#identity.signOff("the worker stops", { withinMs: LEAVE_MS });
  }

  /** Registers and holds the line, anew whenever the server does not know the agent any more. */
  async #serve(over: AbortSignal): Promise<never> {
    for (;;) {
      const agentId = await this.#identity.id(over);
      const lost = new AbortController();
      const until = AbortSignal.any([over, lost.signal]);
      this.#sayNow = () => void this.#beat(agentId, until).catch(() => undefined); // the next one says the same
      try {
        const line = holdLine(this.#client, {
          agentId,
          metadata: this.#identity.metadata,
          signal: until,
          opened: () => {
            this.#tell({ what: "ready", agentId });
            this.#sayNow();
          },
          lost: ({ message }, againInMs) => this.#tell({ what: "interrupted", why: message, againInMs }),
          heard: (message) => this.#hear(message),
        });
        return await Promise.race([line, this.#keepBeating(agentId, until)]);
      } catch (error) {
        if (Failure.from(error)?.kind !== "not_found" || over.aborted) throw error;
        await this.#leave(new TaskEnded("lost", "the server does not know its worker any more"));
        this.#identity.forget();
      } finally {
        lost.abort();
      }
    }
  }

  /** Says that the worker is there for as long as it is; a line that is away for long is no reason to be silent. */
  async #keepBeating(agentId: string, signal: AbortSignal): Promise<never> {
    for (;;) {
      await pause(this.#options.heartbeatMs ?? this.#intervalMs, signal);
      try {
        await this.#beat(agentId, signal);
      } catch (error) {
        if (signal.aborted || Failure.from(error)?.kind === "not_found") throw error;
        // Anything else may be over when the next one is due, and the line tells of it.
      }
    }
  }

  async #beat(agentId: string, signal: AbortSignal): Promise<void> {
    const { pendingTasks } = await this.#client.agent.heartbeat(
      { agentId, activeTasks: [...this.#atWork.keys()], takesNoTasks: !this.#takesTasks },
      { signal, metadata: this.#identity.metadata, onTrailers: (trailers) => this.#heedInterval(trailers) },
    );
    for (const taskId of pendingTasks) this.#take({ taskId, attempt: "" });
  }

  #heedInterval(trailers: Headers): void {
    const ms = Number(trailers.get(INTERVAL_TRAILER));
    if (ms > 0) this.#intervalMs = ms;
  }

  #hear({ type, payload, metadata, timestamp }: AgentMessage): void {
    if (type === MessageType.TASK_REQUEST && payload.case === "taskMessage") {
      const { taskId, task } = payload.value;
      const at = timestamp === undefined ? 0 : timestampMs(timestamp);
      const whole = task === undefined ? undefined : { task, at };
      this.#take({ taskId, attempt: metadata?.headers.attempt ?? "", whole });
    } else if (payload.case === "controlMessage") {
      this.#obey(payload.value);
    }
  }

  #obey({ command, parameters }: ControlMessage): void {
    switch (command) {
      case ControlCommand.SHUTDOWN:
        this.#shutdown.abort();
        return;
      case ControlCommand.PAUSE:
        this.#pause();
        return;
      case ControlCommand.RESUME:
        this.#resume();
        return;
      case ControlCommand.CANCEL:
        this.#cancel(parameters);
    }
  }

  /** What it is at goes on; the server gives what else it was told of to others. */
  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#tell({ what: "paused", tasks: [...this.#atWork.keys()] });
    this.#sayNow();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#tell({ what: "resumed" });
    this.#sayNow();
  }

  #cancel(parameters: ControlMessage["parameters"]): void {
    const { task_id: taskId = "", reason = "", force } = parameters;
    const how = force === "true" ? "forced" : "cancelled";
    this.#atWork.get(taskId)?.task.end(new TaskEnded(how, reason || "it was cancelled"));
  }

  get #takesTasks(): boolean {
    return !this.#isPaused && !this.#drainSignal.aborted;
  }

  #take(given: Given): void {
    if (!this.#takesTasks) return;
    const { taskId, attempt } = given;
    const before = this.#atWork.get(taskId);
    if (before !== undefined) {
      if (attempt !== "" && attempt !== before.task.attempt) this.#again.set(taskId, given);
      return;
    }
    this.#begin(given);
  }

  #begin({ taskId, attempt, whole }: Given): void {
    const { run } = this.#options;
    const isInForce = whole !== undefined && Math.abs(Date.now() - whole.at) < IN_FORCE_MS;
    const task = new TaskAtWork(this.#client, {
      taskId,
      attempt,
      task: isInForce ? whole.task : undefined,
      metadata: this.#identity.metadata,
      strands: this.#strands,
      run,
      clock: Date.now,
    });
    this.#tell({ what: "task_begun", taskId });
    this.#atWork.set(taskId, { task, done: this.#follow(taskId, task) });
  }

  async #follow(taskId: string, task: TaskAtWork): Promise<void> {
    const report = await task.run();
    this.#atWork.delete(taskId);
    this.#tell({ what: "task_over", taskId, report });
    const again = this.#again.get(taskId);
    this.#again.delete(taskId);
    // It was given before a pause, and is said to be at work.
    if (again !== undefined && !this.#drainSignal.aborted) this.#begin(again);
  }

  async #drain(): Promise<void> {
    if (this.#atWork.size === 0) return;
    this.#sayNow();
    this.#tell({ what: "draining", tasks: [...this.#atWork.keys()] });
    const { drainMs = DRAIN_MS, hurry } = this.#options;
    const patience = AbortSignal.timeout(drainMs);
    await this.#allDone(hurry === undefined ? patience : AbortSignal.any([patience, hurry]));
    await this.#leave(new TaskEnded("left", "its worker stops"));
  }

  /** Has everything at work end, and waits a while for it. */
  async #leave(end: TaskEnded): Promise<void> {
    for (const { task } of this.#atWork.values()) task.end(end);
    await this.#allDone(AbortSignal.timeout(LEAVE_MS));
  }

  async #allDone(signal: AbortSignal): Promise<void> {
    const all = Promise.all([...this.#atWork.values()].map(({ done }) => done));
    await orAborted(all, signal).catch(() => undefined); // late is what the caller deals with
  }

  #tell(news: WorkerNews): void {
    this.#options.onNews?.(news);
  }
}
