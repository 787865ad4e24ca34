import {
  type Task,
  TaskPrioritySchema,
  TaskSchema,
  TaskStateSchema,
  TaskTypeSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { type Cell, cell, stateCell } from "./cell.ts";
import type { Record } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import type { Column } from "./table.ts";
import { enumWord, limitText, pairsText, type TimeStyle, timeCell } from "./words.ts";

export function taskColumns(times: TimeStyle): readonly Column<Task>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "STATE", of: ({ state }) => stateCell(enumWord(TaskStateSchema, state)) },
    { title: "END", of: endCell },
    { title: "TYPE", of: ({ type }) => cell(enumWord(TaskTypeSchema, type)) },
    { title: "PRIORITY", of: ({ priority }) => cell(enumWord(TaskPrioritySchema, priority)) },
    { title: "AGENT", of: ({ agentId }) => cell(agentId === "" ? "-" : agentId), isId: true },
    { title: "CREATED", of: ({ createdAt }) => timeCell(createdAt, times) },
    { title: "NAME", of: ({ name }) => cell(name, "faint") },
  ];
}

/** One task, with all that is set. */
export function taskRecord(task: Task, times: TimeStyle): Record {
  return { id: task.id, value: () => jsonOf(TaskSchema, task), rows: () => rows(task, times) };
}

function rows(task: Task, times: TimeStyle): readonly (readonly [string, Cell])[] {
  const { config, result, error } = task;
  const optional: readonly (readonly [string, string])[] = [
    ["Because", task.stateReason],
    ["Name", task.name],
    ["Session", task.sessionId],
    ["Agent", task.agentId],
    ["Command", [config?.command ?? "", ...(config?.arguments ?? [])].join(" ").trim()],
    ["Parameters", pairsText(config?.parameters ?? {})],
    ["Environment", pairsText(config?.environment ?? {})],
    ["Folder", config?.workingDirectory ?? ""],
    ["Time-out", config === undefined || config.timeoutNs === 0n ? "" : limitText(config.timeoutNs)],
    ["Error", error === undefined ? "" : `${error.code}: ${error.message}`],
    ["Error's details", (error?.details ?? []).join("; ")],
    ["Metadata", pairsText(result?.metadata ?? {})],
  ];
  const instants = [
    ["Expires", task.expiresAt],
    ["Started", task.startedAt],
    ["Ended", task.completedAt],
    ["Next attempt", task.notBefore],
  ] as const;
  return [
    ["ID", cell(task.id)],
    ["State", stateCell(enumWord(TaskStateSchema, task.state))],
    ["End", endCell(task)],
    ["Type", cell(enumWord(TaskTypeSchema, task.type))],
    ["Priority", cell(enumWord(TaskPrioritySchema, task.priority))],
    ["Attempt", cell(`${task.attempt} of ${1n + (config?.maxRetries ?? 0n)}`)],
    ["Progress", cell(`${Math.round(task.progress * 100)}%`)],
    ["Output", cell(`${task.outputBytes} bytes, ${task.outputKeptBytes} of them kept`)],
    ["Created", timeCell(task.createdAt, times)],
    ...instants.flatMap(([label, at]) => (at === undefined ? [] : [[label, timeCell(at, times)] as const])),
    ...optional.filter(([, text]) => text !== "").map(([label, text]) => [label, cell(text)] as const),
  ];
}

/** How it ended in a word. */
function endCell({ result, error }: Task): Cell {
  if (result !== undefined) return cell(String(result.exitCode), result.exitCode === 0 ? "plain" : "bad");
  return error === undefined ? cell("-", "faint") : cell(error.code, "bad");
}
