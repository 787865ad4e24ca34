import { Failure, invalid } from "../../failure.ts";
import { type Task, type TaskConfig, TaskType, TaskTypeSchema } from "../../gen/proto/agent/v1/agent_pb.ts";
import { fileCommand } from "./file-operations.ts";
import type { Operation } from "./operations.ts";
import { type Language, languageOf, type Table } from "./table.ts";

/** What is done for a task. */
export type Plan = ProgramPlan | ContainerPlan | PathPlan;

/** A command in a container. */
export interface ProgramPlan {
  readonly kind: "program";
  /** The container: one of the session's that is there, or a fresh one of an image. */
  readonly place: { readonly container: string } | { readonly image: string };
  readonly command: readonly string[];
  /** The program's text, which goes into a file whose path is the last word of the command. */
  readonly code: { readonly file: string; readonly text: Uint8Array | "first_input" } | undefined;
  readonly stdin: Stdin;
  readonly operations: readonly Operation[];
  /** A volume of the session that is mounted at `WORKSPACE`. */
  readonly volume: string | undefined;
  readonly network: boolean;
}

/** What a command gets on stdin: bytes and then nothing, what callers send, or both; or the bytes as a file. */
type Stdin =
  | { readonly kind: "data"; readonly data: Uint8Array }
  | { readonly kind: "stream"; readonly first: Uint8Array }
  | { readonly kind: "file"; readonly path: string; readonly data: Uint8Array };

/** A call about a container of the session. */
export interface ContainerPlan {
  readonly kind: "container";
  readonly verb: ContainerVerb;
  readonly container: string;
  readonly image: string;
  /** Of `create`. */
  readonly command: readonly string[];
  readonly operations: readonly Operation[];
}

/** What is at a path of a container. */
export interface PathPlan {
  readonly kind: "path";
  readonly container: string;
  readonly path: string;
  readonly operations: readonly Operation[];
}

const CONTAINER_VERBS = [
  "create",
  "list",
  "inspect",
  "logs",
  "stop",
  "wait",
  "pause",
  "resume",
  "remove",
] as const;
type ContainerVerb = (typeof CONTAINER_VERBS)[number];

/** Where a session's volume is mounted. */
export const WORKSPACE = "/workspace";

/** Where what a task brings is put. */
export const TASK_FOLDER = "/task";

/**
 * What is to be done for a task.
 *
 * Failures: INVALID_ARGUMENT naming what is missing or wrong; UNIMPLEMENTED for types that are not done here.
 */
export function planOf(task: Task, table: Table): Plan {
  const { config } = task;
  if (config === undefined) throw invalid("do the task", [{ field: "config", description: "is missing" }]);
  switch (task.type) {
    case TaskType.CODE_EXECUTION:
      return codePlan(config, table);
    case TaskType.DATA_PROCESSING:
      return dataPlan(config, table);
    case TaskType.TOOL_EXECUTION:
      return toolPlan(config, table);
    case TaskType.FILE_OPERATION:
      return filePlan(config, table);
    case TaskType.CONTAINER_OPERATION:
      return containerPlan(config, table);
    default: {
      const name = TaskTypeSchema.values.find(({ number }) => number === task.type)?.name ?? task.type;
      throw new Failure("unimplemented", `Cannot do the task: this worker does no ${name}`, {
        reason: "TASK_TYPE_NOT_DONE",
      });
    }
  }
}

/** A command as it is, or a program in a language: `parameters.code`, else input_data, else the first input. */
function codePlan(config: TaskConfig, table: Table): ProgramPlan {
  const { command, arguments: words, parameters, inputData } = config;
  const named = languageNamed(config, table);
  const interpreter = command !== "" && words.length === 0 ? languageOf(table, command) : undefined;
  const isProgram = parameters.code !== undefined || command === "" || interpreter !== undefined;
  if (!isProgram) {
    return program(config, table, { command: [command, ...words], type: "code-execution", name: "execute" });
  }
  const language = named ?? interpreter ?? languageOf(table, "python");
  if (language === undefined) throw missing("parameters.language", "is missing");
  const codeIsInput = parameters.code === undefined;
  const text = codeIsInput
    ? inputData.byteLength > 0
      ? inputData
      : ("first_input" as const)
    : encoded(parameters.code);
  return {
    ...program(config, table, {
      command: language.command,
      type: "code-execution",
      name: "execute",
      language,
    }),
    ...(codeIsInput && { stdin: { kind: "stream", first: new Uint8Array(0) } as const }),
    command: [...language.command, `${TASK_FOLDER}/${language.file}`, ...(interpreter ? [] : words)],
    code: { file: language.file, text },
  };
}

/** Input is always data here; the program is a command, or `parameters.code`. */
function dataPlan(config: TaskConfig, table: Table): ProgramPlan {
  const { command, arguments: words, parameters } = config;
  const of = { type: "data-processing", name: "process" };
  if (parameters.code === undefined) {
    if (command === "")
      throw missing("config.command", "or parameters.code has to say what is done with the data");
    return program(config, table, { ...of, command: [command, ...words] });
  }
  const language = languageNamed(config, table) ?? languageOf(table, command === "" ? "sh" : command);
  if (language === undefined) throw missing("config.command", `"${command}" is no language`);
  return {
    ...program(config, table, { ...of, command: language.command, language }),
    command: [...language.command, `${TASK_FOLDER}/${language.file}`, ...words],
    code: { file: language.file, text: encoded(parameters.code) },
  };
}

function toolPlan(config: TaskConfig, table: Table): ProgramPlan {
  const name = config.parameters.tool ?? config.command;
  const tool = Object.hasOwn(table.tools, name) ? table.tools[name] : undefined;
  if (tool === undefined) {
    const known = Object.keys(table.tools).join(", ");
    throw new Failure("not_found", `Cannot call tool "${name}": this worker has ${known}`, {
      reason: "TOOL_NOT_FOUND",
    });
  }
  const command = [...tool.command, ...config.arguments];
  const image = config.parameters.image ?? tool.image;
  const plan = program(config, table, { command, type: "tool-execution", name: "tool", specific: name });
  return "container" in plan.place ? plan : { ...plan, place: { image } };
}

function filePlan(config: TaskConfig, table: Table): ProgramPlan | PathPlan {
  const { parameters } = config;
  const verb = config.command === "" ? (parameters.operation ?? "") : config.command;
  const paths =
    config.arguments.length > 0 ? config.arguments : [parameters.path, parameters.to].filter(isText);
  const { command, takesInput, writes } = fileCommand(verb, paths);
  const operations: readonly Operation[] = [[verb, `file:${verb}`, "file-operation"]];
  const { container, volume } = parameters;
  if (command === undefined) {
    if (container === undefined)
      throw missing("config.parameters.container", `is missing: ${verb} needs one`);
    return { kind: "path", container, path: paths[0] ?? "", operations };
  }
  if (writes && container === undefined && volume === undefined) {
    const field = "config.parameters.container";
    throw missing(field, `or parameters.volume has to be given: nothing else would keep what ${verb} does`);
  }
  const plan = program(config, table, { command, type: "file-operation", name: verb });
  const nothing = { kind: "data", data: new Uint8Array(0) } as const;
  return { ...plan, operations, ...(takesInput ? {} : { stdin: nothing }) };
}

function containerPlan(config: TaskConfig, table: Table): ContainerPlan | ProgramPlan {
  const { parameters } = config;
  const given = config.command === "" ? (parameters.operation ?? "") : config.command;
  const [first, ...rest] = config.arguments;
  const container = parameters.container ?? first ?? "";
  const words = parameters.container === undefined ? rest : config.arguments;
  const operations: readonly Operation[] = [[`container:${given}`, "container-operation"]];
  if (given === "exec") {
    if (container === "") throw missing("config.parameters.container", "is missing: exec needs one");
    if (words.length === 0) throw missing("config.arguments", "have no command to run");
    const plan = program(config, table, { command: words, type: "container-operation", name: "execute" });
    return { ...plan, place: { container }, operations: [...plan.operations, ...operations] };
  }
  const verb = CONTAINER_VERBS.find((one) => one === given);
  if (verb === undefined) {
    throw missing("config.command", `has to be one of exec, ${CONTAINER_VERBS.join(", ")}, not "${given}"`);
  }
  if (verb === "create") {
    const image = parameters.image ?? table.image;
    return { kind: "container", verb, container: "", image, command: config.arguments, operations };
  }
  if (container === "" && verb !== "list")
    throw missing("config.parameters.container", `is missing: ${verb} needs one`);
  return { kind: "container", verb, container, image: "", command: [], operations };
}

interface Called {
  readonly command: readonly string[];
  /** The task type's name. */
  readonly type: string;
  /** What the operation is called. */
  readonly name: string;
  /** What stands behind its colon; the command's own name by default. */
  readonly specific?: string;
  readonly language?: Language;
}

function program(config: TaskConfig, table: Table, called: Called): ProgramPlan {
  const { parameters } = config;
  const { command, type, name, language } = called;
  const word = command[0] ?? "";
  const specific = called.specific ?? word.slice(word.lastIndexOf("/") + 1);
  const network = flag(parameters, "network");
  const image =
    parameters.image ??
    (language ?? languageNamed(config, table) ?? languageOf(table, specific))?.image ??
    table.image;
  return {
    kind: "program",
    place: parameters.container === undefined ? { image } : { container: parameters.container },
    command,
    code: undefined,
    stdin: stdinOf(config),
    operations: [[name, `${name}:${specific}`, type], ...(network ? [["network"] as const] : [])],
    volume: parameters.volume,
    network,
  };
}

function stdinOf({ parameters, inputData: data }: TaskConfig): Stdin {
  const wanted = parameters.input ?? (data.byteLength > 0 ? "stdin" : "stream");
  switch (wanted) {
    case "stdin":
      return { kind: "data", data };
    case "stream":
      return { kind: "stream", first: data };
    case "file":
      return { kind: "file", path: parameters.input_path ?? `${TASK_FOLDER}/input`, data };
    default:
      throw missing("config.parameters.input", `has to be stdin, stream or file, not "${wanted}"`);
  }
}

function languageNamed({ parameters: { language } }: TaskConfig, table: Table): Language | undefined {
  if (language === undefined) return undefined;
  const found = languageOf(table, language);
  if (found !== undefined) return found;
  const known = Object.keys(table.languages).join(", ");
  throw missing("config.parameters.language", `has to be one of ${known}, not "${language}"`);
}

/** Whether a parameter says yes. */
function flag(parameters: Readonly<Record<string, string>>, name: string): boolean {
  const given = parameters[name] ?? "false";
  if (given !== "true" && given !== "false")
    throw missing(`config.parameters.${name}`, `has to be true or false, not "${given}"`);
  return given === "true";
}

function missing(field: string, description: string): Failure {
  return invalid("do the task", [{ field, description }]);
}

function isText(text: string | undefined): text is string {
  return text !== undefined;
}

function encoded(text = ""): Uint8Array {
  return new TextEncoder().encode(text);
}
