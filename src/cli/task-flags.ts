import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import {
  type ExecuteTaskRequest,
  ExecuteTaskRequestSchema,
  TaskConfigSchema,
  TaskConstraintsSchema,
  TaskPrioritySchema,
  TaskTypeSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { findAgentId, findSessionId } from "./find-id.ts";
import {
  choice,
  duration,
  type Flags,
  type FlagValues,
  int,
  json,
  list,
  pairs,
  problem,
  size,
  text,
  toggle,
  withDefault,
} from "./flag.ts";
import { nanoseconds } from "./limit-flags.ts";
import { configMessage } from "./proto-json.ts";
import { enumNumber, enumWords } from "./words.ts";

/** What a task is made with. */
export const taskFlags = {
  type: withDefault(
    choice({ about: "what it does", choices: enumWords(TaskTypeSchema), placeholder: "TYPE" }),
    "code-execution",
  ),
  name: text({ about: "a name for people", short: "n" }),
  session: text({
    about: "the session that it is done in (default: one of its own)",
    short: "s",
    placeholder: "SESSION",
    completes: "session",
  }),
  agent: text({ about: "who does it (default: whoever can)", placeholder: "AGENT", completes: "agent" }),
  priority: choice({ about: "before which others", choices: enumWords(TaskPrioritySchema) }),
  code: text({ about: "a program to run, instead of COMMAND" }),
  script: text({ about: "the same, from a file", placeholder: "PATH", completes: "file" }),
  language: text({ about: "what the program is written in (default python)" }),
  image: text({ about: "the image to run it in (default: the worker's for it)" }),
  env: pairs({ about: "a variable of its environment", short: "e" }),
  workdir: text({ about: "the folder that it starts in", short: "w", placeholder: "PATH" }),
  network: toggle({ about: "give it a network, where that is allowed" }),
  param: pairs({ about: "anything else that its worker knows; see docs/workers.md", short: "p" }),
  data: text({ about: "a file with its input data", placeholder: "PATH", completes: "file" }),
  timeout: duration({ about: "how long it may run" }),
  deadline: duration({ about: "how long it may take from now, waiting included" }),
  retries: int({ about: "further attempts when its worker is lost" }),
  retryOnFailure: toggle({ about: "further attempts also when it fails" }),
  memory: size({ about: "memory, such as 512m or 2GiB" }),
  cpuTime: duration({ about: "processor time of each of its processes" }),
  allow: list({ about: "an operation that it may do, and no other", placeholder: "OPERATION" }),
  deny: list({ about: "an operation that it may not do", placeholder: "OPERATION" }),
  idempotencyKey: text({ about: "makes a repetition harmless", placeholder: "KEY" }),
  config: json({ about: "the whole TaskConfig as the API's JSON; the other flags win" }),
} satisfies Flags;

export interface WantedTask {
  readonly flags: FlagValues<typeof taskFlags>;
  readonly command: readonly string[];
  /** Parameters that the flags win over. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** The request that words and flags make. */
export async function taskRequestOf(
  client: Client,
  { flags, command, parameters = {} }: WantedTask,
): Promise<ExecuteTaskRequest> {
  const base = configMessage(TaskConfigSchema, flags.config);
  if (flags.code !== undefined && flags.script !== undefined)
    throw problem("--code and --script can't be had together");
  const code =
    flags.script === undefined ? flags.code : new TextDecoder().decode(await readWhole(flags.script));
  const [program, ...words] = command;
  const isCode = code !== undefined;
  const named = { code, language: flags.language, image: flags.image };
  const { constraints } = base;
  return create(ExecuteTaskRequestSchema, {
    name: flags.name ?? "",
    agentId: flags.agent === undefined ? "" : await findAgentId(client, flags.agent),
    sessionId: flags.session === undefined ? "" : await findSessionId(client, flags.session),
    type: enumNumber(TaskTypeSchema, flags.type),
    priority: enumNumber(TaskPrioritySchema, flags.priority),
    idempotencyKey: flags.idempotencyKey ?? "",
    config: {
      ...base,
      // Words behind a program that is given as text are its own.
      command: isCode ? base.command : (program ?? base.command),
      arguments: isCode ? [...command] : program === undefined ? base.arguments : words,
      environment: { ...base.environment, ...flags.env },
      workingDirectory: flags.workdir ?? base.workingDirectory,
      inputData: flags.data === undefined ? base.inputData : await readWhole(flags.data),
      parameters: {
        ...parameters,
        ...base.parameters,
        ...given(named),
        ...(flags.network && { network: "true" }),
        ...flags.param,
      },
      timeoutNs: flags.timeout === undefined ? base.timeoutNs : nanoseconds(flags.timeout),
      deadlineNs: flags.deadline === undefined ? base.deadlineNs : nanoseconds(flags.deadline),
      maxRetries: flags.retries === undefined ? base.maxRetries : BigInt(flags.retries),
      retryOnFailure: flags.retryOnFailure || base.retryOnFailure,
      constraints: create(TaskConstraintsSchema, {
        maxExecutionTimeNs: constraints?.maxExecutionTimeNs ?? 0n,
        maxMemoryBytes: flags.memory ?? constraints?.maxMemoryBytes ?? 0n,
        maxCpuNs: flags.cpuTime === undefined ? (constraints?.maxCpuNs ?? 0n) : nanoseconds(flags.cpuTime),
        allowedOperations: [...(constraints?.allowedOperations ?? []), ...flags.allow],
        deniedOperations: [...(constraints?.deniedOperations ?? []), ...flags.deny],
      }),
    },
  });
}

function given(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}

async function readWhole(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Failure("failed_precondition", `Cannot read "${path}": ${why}`);
  }
}
