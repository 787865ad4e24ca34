import {
  type Agent,
  AgentSchema,
  AgentStateSchema,
  AgentTypeSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { type Cell, cell, stateCell } from "./cell.ts";
import { limitsText } from "./limits-view.ts";
import type { Record } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import type { Column } from "./table.ts";
import { enumWord, pairsText, type TimeStyle, timeCell } from "./words.ts";

export function agentColumns(times: TimeStyle): readonly Column<Agent>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "STATE", of: ({ state }) => stateCell(enumWord(AgentStateSchema, state)) },
    { title: "NAME", of: ({ name }) => cell(name) },
    { title: "TYPE", of: ({ type }) => cell(enumWord(AgentTypeSchema, type)) },
    { title: "LINE", of: ({ lineOpen }) => cell(lineOpen ? "open" : "-", lineOpen ? "good" : "faint") },
    { title: "TASKS", of: (agent) => cell(tasksText(agent)) },
    { title: "HEARD OF", of: ({ lastHeartbeat }) => timeCell(lastHeartbeat, times) },
    {
      title: "CAN DO",
      of: ({ capabilities }) => cell((capabilities?.supportedTasks ?? []).join(", "), "faint"),
    },
  ];
}

/** One agent, with all that is set. */
export function agentRecord(agent: Agent, times: TimeStyle): Record {
  return { id: agent.id, value: () => jsonOf(AgentSchema, agent), rows: () => rows(agent, times) };
}

function rows(agent: Agent, times: TimeStyle): readonly (readonly [string, Cell])[] {
  const { metadata, capabilities } = agent;
  const limits = capabilities?.resourceLimits;
  const optional: readonly (readonly [string, string])[] = [
    ["Because", agent.stateReason],
    ["Version", metadata?.version ?? ""],
    ["Description", metadata?.description ?? ""],
    ["Owner", metadata?.ownerId ?? ""],
    ["Labels", pairsText(metadata?.labels ?? {})],
    ["Tags", (metadata?.tags ?? []).join(", ")],
    ["Host", metadata?.hostname ?? ""],
    ["Process", metadata?.pid ?? ""],
    ["Can do", (capabilities?.supportedTasks ?? []).join(", ")],
    ["Tools", (capabilities?.supportedTools ?? []).join(", ")],
    ["Protocols", (capabilities?.supportedProtocols ?? []).join(", ")],
    ["Resource limits", limits === undefined ? "" : limitsText(limits)],
    ["Working on", agent.activeTasks.join(", ")],
    ["Further tasks", agent.takesNoTasks ? "none for now" : ""],
  ];
  return [
    ["ID", cell(agent.id)],
    ["Name", cell(agent.name)],
    ["Type", cell(enumWord(AgentTypeSchema, agent.type))],
    ["State", stateCell(enumWord(AgentStateSchema, agent.state))],
    ["Line", cell(agent.lineOpen ? "open" : "none")],
    ["Tasks", cell(tasksText(agent))],
    ["Registered", timeCell(agent.registeredAt, times)],
    ["Heard of", timeCell(agent.lastHeartbeat, times)],
    ...(agent.endedAt === undefined ? [] : [["Ended", timeCell(agent.endedAt, times)] as const]),
    ...optional.filter(([, text]) => text !== "").map(([label, text]) => [label, cell(text)] as const),
  ];
}

/** How many tasks it has, and may have at a time. */
function tasksText({ activeTasks, capabilities }: Agent): string {
  return `${activeTasks.length}/${Math.max(1, capabilities?.maxConcurrentTasks ?? 0)}`;
}
