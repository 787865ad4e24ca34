import type { Client } from "../../client/client.ts";
import { abortFailure, Failure } from "../../failure.ts";
import type { TaskConfig } from "../../gen/proto/agent/v1/agent_pb.ts";
import type { ExecEnd, PullPolicy } from "../../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { RunningTask, RunTask, TaskOutcome } from "../running-task.ts";
import { ATTEMPT_LOST } from "../task-at-work.ts";
import { archiveOf, type FileIn } from "./archive.ts";
import { runCommand } from "./command.ts";
import { doContainerOperation, statPath } from "./container-operation.ts";
import { checkOperations } from "./operations.ts";
import { type Plan, type ProgramPlan, planOf, TASK_FOLDER } from "./plan.ts";
import type { Table } from "./table.ts";
import { Workplace } from "./workplace.ts";

export interface ContainerWork {
  readonly client: Client;
  readonly table: Table;
  readonly pull: PullPolicy;
  /** Whether tasks without a session may have a network when they ask for one. */
  readonly allowNetwork: boolean;
}

/** Does tasks in containers of their sessions, through the server's API. See docs/workers.md for what a task may say. */
export function inContainers(work: ContainerWork): RunTask {
  return async (running) => {
    const plan = planOf(running.task, work.table);
    checkOperations(plan.operations, running.task.config?.constraints);
    return await doPlan(work, running, plan);
  };
}

async function doPlan(work: ContainerWork, running: RunningTask, plan: Plan): Promise<TaskOutcome> {
  switch (plan.kind) {
    case "program":
      return await runProgram(work, running, plan);
    case "container":
      return await doContainerOperation(work.client, running, { plan, pull: work.pull });
    case "path":
      return await statPath(work.client, running, plan);
  }
}

async function runProgram(
  work: ContainerWork,
  running: RunningTask,
  plan: ProgramPlan,
): Promise<TaskOutcome> {
  const { client, pull, allowNetwork } = work;
  const { task, signal, write } = running;
  if (plan.network && task.sessionId === "" && !allowNetwork) {
    throw new Failure(
      "permission_denied",
      "Cannot give the task a network: it has no session whose policy allows one, and this worker was not started with --allow-network",
      { reason: "NETWORK_NOT_ALLOWED" },
    );
  }
  const input = running.input[Symbol.asyncIterator]();
  const files = await filesOf(plan, input);
  await using place = await Workplace.open(client, { task, plan, pull, signal });
  const { containerId } = place;
  const config = task.config;
  await copyIn(work, { containerId, files, config: "image" in plan.place ? config : undefined });
  const end = await runCommand(client, {
    start: {
      containerId,
      command: withProcessorTime(plan.command, config),
      env: { ...config?.environment },
      workingDir: config?.workingDirectory ?? "",
      timeoutNs: config?.constraints?.maxExecutionTimeNs ?? 0n,
    },
    stdin: stdinOf(plan, input),
    output: write,
    signal,
    kill: () => place.remove(),
  });
  if (signal.aborted) throw abortFailure(signal);
  return await outcomeOf(client, { end, containerId, config });
}

/** The files that the command needs; waits for a program that its caller is yet to send. */
async function filesOf(
  { code, stdin }: ProgramPlan,
  input: AsyncIterator<Uint8Array>,
): Promise<readonly FileIn[]> {
  const files: FileIn[] = [];
  if (code !== undefined) {
    const data = code.text === "first_input" ? await firstOf(input) : code.text;
    files.push({ path: `${TASK_FOLDER}/${code.file}`, data });
  }
  if (stdin.kind === "file") files.push({ path: stdin.path, data: stdin.data });
  return files;
}

async function firstOf(input: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  const { done, value } = await input.next();
  if (done !== true) return value;
  throw new Failure("failed_precondition", "Cannot run the program: its caller has sent none", {
    reason: "NO_PROGRAM",
  });
}

async function* stdinOf(
  { stdin }: ProgramPlan,
  input: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (stdin.kind === "data") yield* pieces(stdin.data);
  if (stdin.kind !== "stream") return;
  yield* pieces(stdin.first);
  for (let next = await input.next(); next.done !== true; next = await input.next())
    yield* pieces(next.value);
}

/** At most 1 MiB a frame is good manners. */
function* pieces(data: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < data.byteLength; at += 1024 * 1024) yield data.subarray(at, at + 1024 * 1024);
}

/** Puts files and the working directory into a container; `config` undefined: it is not the task's, and has its folders. */
async function copyIn(
  { client }: ContainerWork,
  {
    containerId,
    files,
    config,
  }: {
    readonly containerId: string;
    readonly files: readonly FileIn[];
    readonly config: TaskConfig | undefined;
  },
): Promise<void> {
  const folders = config === undefined || config.workingDirectory === "" ? [] : [config.workingDirectory];
  if (files.length + folders.length === 0) return;
  await client.orchestrator.copyToContainer(
    (async function* () {
      yield { payload: { case: "start" as const, value: { containerId, path: "/" } } };
      for await (const data of archiveOf(files, folders))
        yield { payload: { case: "data" as const, value: data } };
    })(),
  );
}

/** What a process that has used up its processor time is ended by. */
const SIGXCPU_EXIT_CODE = 128 + 24;

/** The kernel counts whole seconds, for each process. */
function withProcessorTime(command: readonly string[], config: TaskConfig | undefined): string[] {
  const ns = config?.constraints?.maxCpuNs ?? 0n;
  if (ns <= 0n) return [...command];
  const seconds = (ns + 999_999_999n) / 1_000_000_000n;
  return ["sh", "-c", `ulimit -Ht ${seconds + 1n}; ulimit -St ${seconds}; exec "$@"`, "sh", ...command];
}

async function outcomeOf(
  client: Client,
  {
    end: { how },
    containerId,
    config,
  }: {
    readonly end: ExecEnd;
    readonly containerId: string;
    readonly config: TaskConfig | undefined;
  },
): Promise<TaskOutcome> {
  switch (how.case) {
    case "exited": {
      const exitCode = how.value.code;
      if (exitCode === SIGXCPU_EXIT_CODE && (config?.constraints?.maxCpuNs ?? 0n) > 0n) {
        throw new Failure("deadline_exceeded", "Cannot finish the task: its max_cpu_ns were used up", {
          reason: "CPU_TIME_EXCEEDED",
        });
      }
      const isOut = exitCode === KILLED_EXIT_CODE && (await ranOutOfMemory(client, containerId));
      return { exitCode, ...(isOut && { metadata: { oom_killed: "true" } }) };
    }
    case "signalled":
      return { exitCode: 128 + how.value.number, metadata: { signal: how.value.signal } };
    case "timedOut": {
      const seconds = Number(how.value.timeoutNs / 1_000_000n) / 1000;
      const message = `Cannot finish the task: its max_execution_time_ns of ${seconds} s were over`;
      throw new Failure("deadline_exceeded", message, { reason: "EXECUTION_TIME_EXCEEDED" });
    }
    case "cancelled":
      throw new Failure("cancelled", `Cannot finish the task: ${how.value.reason}`, {
        reason: "COMMAND_CANCELLED",
      });
    default: {
      const why = how.case === "unknown" ? how.value.reason : "the server did not say how its command ended";
      throw new Failure("unknown", `Cannot tell how the task ended: ${why}`, { reason: ATTEMPT_LOST });
    }
  }
}

const KILLED_EXIT_CODE = 128 + 9;

async function ranOutOfMemory(client: Client, containerId: string): Promise<boolean> {
  const { container } = await client.orchestrator.getContainer({ containerId });
  return container?.oomKilled === true;
}
