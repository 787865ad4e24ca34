import {
  type Exec,
  type ExecEnd,
  ExecSchema,
  ExecStateSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Cell, cell, stateCell } from "./cell.ts";
import type { Record } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import type { Column } from "./table.ts";
import { enumWord, type TimeStyle, timeCell } from "./words.ts";

export function execColumns(times: TimeStyle): readonly Column<Exec>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "STATE", of: ({ state }) => stateCell(enumWord(ExecStateSchema, state)) },
    { title: "END", of: ({ end }) => endCell(end) },
    { title: "CONTAINER", of: ({ containerId }) => cell(containerId), isId: true },
    { title: "STARTED", of: ({ startedAt }) => timeCell(startedAt, times) },
    { title: "COMMAND", of: ({ command }) => cell(command.join(" "), "faint") },
  ];
}

/** One command, with all that is set. */
export function execRecord(exec: Exec, times: TimeStyle): Record {
  return { id: exec.id, value: () => jsonOf(ExecSchema, exec), rows: () => rows(exec, times) };
}

function rows(exec: Exec, times: TimeStyle): readonly (readonly [string, Cell])[] {
  const { end, outputBytes, oldestOffset } = exec;
  const why = end?.how.case === "cancelled" || end?.how.case === "unknown" ? end.how.value.reason : "";
  return [
    ["ID", cell(exec.id)],
    ["State", stateCell(enumWord(ExecStateSchema, exec.state))],
    ["End", endCell(end)],
    ...(why === "" ? [] : [["Why", cell(why)] as const]),
    ["Container", cell(exec.containerId)],
    ["Session", cell(exec.sessionId)],
    ["Command", cell(exec.command.join(" "))],
    ["Started", timeCell(exec.startedAt, times)],
    ...(end === undefined ? [] : [["Ended", timeCell(end.endedAt, times)] as const]),
    ["Goes on alone", cell(exec.detachOnDisconnect ? "yes" : "no")],
    ["Attached", cell(String(exec.attached))],
    ["Output", cell(`${outputBytes} bytes, ${outputBytes - oldestOffset} of them kept`)],
  ];
}

/** How it ended in a word or two. */
function endCell(end: ExecEnd | undefined): Cell {
  const how = end?.how;
  switch (how?.case) {
    case "exited":
      return cell(String(how.value.code), how.value.code === 0 ? "plain" : "bad");
    case "signalled":
      return cell(how.value.signal, "bad");
    case "timedOut":
      return cell("timed out", "bad");
    case "cancelled":
      return cell("cancelled", "warning");
    case "unknown":
      return cell("unknown", "warning");
    default:
      return cell("-", "faint");
  }
}
