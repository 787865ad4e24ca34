import { join } from "node:path";
import type { Subprocess } from "bun";
import { type Client, connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { TaskPriority, TaskState, TaskType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import type { Outcome } from "./journal.ts";
import { outcomeOf } from "./outcome.ts";
import type { Random } from "./random.ts";
import type { Begun } from "./task-worker.ts";

/** What the run knows of one task that it asked for. */
export interface KnownTask {
  /** Unique in the run; also the task's name. */
  readonly op: string;
  readonly key: string;
  readonly maxRetries: number;
  readonly retryOnFailure: boolean;
  accepted: Outcome;
  /** How it ended, as the server has told its caller, and when that was. */
  ended: { readonly state: TaskState; readonly exitCode: number; readonly at: number } | undefined;
  cancelled: Outcome | undefined;
}

const callers = 8;
const workerProcesses = 2;
const workersEach = 4;

/** Asks for tasks while it is told to, and has eight workers do them, some of which are killed now and then. */
export class TaskLoad implements AsyncDisposable {
  readonly known: KnownTask[] = [];
  /** When a worker has begun which task, as the workers say. */
  readonly begun: Begun[] = [];
  workersKilled = 0;
  readonly #socketPath: string;
  readonly #client: Client;
  readonly #random: Random;
  readonly #workers: Subprocess[] = [];
  #goesOn = false;
  #work: Promise<unknown> = Promise.resolve();
  #count = 0;
  #processes = 0;

  constructor(parts: { readonly socketPath: string; readonly random: Random }) {
    this.#socketPath = parts.socketPath;
    this.#random = parts.random;
    const address = `unix://${parts.socketPath}`;
    this.#client = connect({ address, callTimeoutMs: 20_000, reconnectIntervalMs: 100 });
    for (let at = 0; at < workerProcesses; at += 1) this.#workers.push(this.#startWorkers());
  }

  get acknowledged(): number {
    return this.known.filter(({ accepted }) => accepted.kind === "acknowledged").length;
  }

  /** How many ends the callers were told of. */
  get ends(): number {
    return this.known.filter(({ ended }) => ended !== undefined).length;
  }

  go(): void {
    this.#goesOn = true;
    this.#work = Promise.all(Array.from({ length: callers }, () => this.#call()));
  }

  /** Begins nothing new from now on. */
  halt(): void {
    this.#goesOn = false;
  }

  /** Resolves when all its calls have ended. */
  async settled(): Promise<void> {
    await this.#work;
  }

  /** Kills one process of workers, and starts another in its place. */
  async killWorkers(): Promise<void> {
    const at = this.#random.between(0, workerProcesses - 1);
    this.#workers[at]?.kill("SIGKILL");
    await this.#workers[at]?.exited;
    this.workersKilled += workersEach;
    this.#workers[at] = this.#startWorkers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.halt();
    for (const process of this.#workers) {
      process.kill("SIGKILL");
      await process.exited;
    }
    await this.#client[Symbol.asyncDispose]();
  }

  #startWorkers(): Subprocess {
    this.#processes += 1;
    const seed = String(this.#random.between(0, 2 ** 32 - 1));
    const words = [this.#socketPath, `p${this.#processes}`, seed, String(workersEach)];
    return Bun.spawn([process.execPath, join(import.meta.dir, "task-worker.ts"), ...words], {
      stdin: "ignore",
      stdout: "inherit",
      stderr: "inherit",
      ipc: (message: Begun) => void this.begun.push(message),
    });
  }

  /** One task after the other: asks for it, and follows it until it has ended, sometimes cancels it, sometimes leaves it. */
  async #call(): Promise<void> {
    while (this.#goesOn) {
      this.#count += 1;
      const op = `task-${this.#count}`;
      const task: KnownTask = {
        op,
        key: this.#random.next() < 0.7 ? `key-${op}` : "",
        maxRetries: this.#random.between(0, 3),
        retryOnFailure: this.#random.next() < 0.5,
        accepted: { kind: "unknown", status: "under way" },
        ended: undefined,
        cancelled: undefined,
      };
      this.known.push(task);
      task.accepted = await outcomeOf(executeAgain(this.#client, task));
      if (task.accepted.kind !== "acknowledged") continue;
      const what = this.#random.next();
      if (what < 0.1) task.cancelled = await this.#cancel(task.accepted.id);
      if (what < 0.8) await this.#follow(task, task.accepted.id);
    }
  }

  #cancel(taskId: string): Promise<Outcome> {
    const force = this.#random.next() < 0.5;
    return outcomeOf(this.#client.agent.cancelTask({ taskId, reason: "enough", force }).then(() => taskId));
  }

  async #follow(task: KnownTask, taskId: string): Promise<void> {
    const over = new AbortController();
    async function* join() {
      yield { taskId, payload: { case: "input" as const, value: {} } };
    }
    try {
      for await (const { payload } of this.#client.agent.streamTask(join(), { signal: over.signal })) {
        if (payload.case === "complete") {
          const { exitCode = 0 } = payload.value.result ?? {};
          task.ended = { state: TaskState.COMPLETED, exitCode, at: Date.now() };
        } else if (payload.case === "error") {
          const state = stateOfCode(payload.value.code);
          task.ended = { state, exitCode: 0, at: Date.now() };
        }
      }
    } catch (error) {
      // The server was killed; how the task ends is looked at later.
      if (!(error instanceof Failure)) throw error;
    }
  }
}

/** Asks for a task, for the first time or again. */
export function executeAgain(client: Client, task: KnownTask): Promise<string> {
  const { op, key, maxRetries, retryOnFailure } = task;
  return client.agent
    .executeTask({
      name: op,
      type: TaskType.CUSTOM,
      priority: TaskPriority.NORMAL,
      config: { command: op, maxRetries: BigInt(maxRetries), retryOnFailure, inputData: Buffer.from(op) },
      idempotencyKey: key,
    })
    .then(({ taskId }) => taskId);
}

function stateOfCode(code: string): TaskState {
  if (code === "CANCELLED") return TaskState.CANCELLED;
  return code === "TIMEOUT" || code === "DEADLINE_EXCEEDED" ? TaskState.TIMEOUT : TaskState.FAILED;
}
