import { timestampDate } from "@bufbuild/protobuf/wkt";
import { PrioritySchema } from "../gen/proto/common/v1/common_pb.ts";
import {
  type Event,
  EventSchema,
  EventType,
  EventTypeSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cell, painted, type Tone } from "./cell.ts";
import type { Entry } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import { shortId, type TableStyle } from "./table.ts";
import { enumWord, pairsText } from "./words.ts";

/** An event as a line: when, what, about what, and what happened in plain values. */
export function eventEntry(event: Event, style: TableStyle): Entry {
  return {
    id: event.id,
    value: () => jsonOf(EventSchema, event),
    line: () => line(event, style),
  };
}

/** On a terminal it is one line there, with short ids unless the terminal is wide. */
function line(event: Event, style: TableStyle): string {
  const { width = Number.POSITIVE_INFINITY } = style;
  const text = coloured(event, { idText: width < WIDE ? shortId : (id) => id, style });
  return Bun.stringWidth(text) <= width ? text : `${Bun.sliceAnsi(text, 0, width - 1)}…`;
}

function coloured(
  event: Event,
  { idText, style }: { readonly idText: IdText; readonly style: TableStyle },
): string {
  const type = enumWord(EventTypeSchema, event.type);
  return [
    cell(timeText(event, style), "faint"),
    cell(type.padEnd(TYPE_WIDTH), toneOf(type)),
    cell(aboutText(event, idText)),
    cell(pairsText(mapped(event.data, idText)), "faint"),
  ]
    .filter(({ text }) => text !== "")
    .map((one) => painted(one, style))
    .join("  ");
}

type IdText = (id: string) => string;

function mapped(data: Readonly<Record<string, string>>, text: IdText): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, text(value)]));
}

/** The local time of the day on a terminal, where one watches; all of it where it may be read later. */
function timeText({ timestamp }: Event, { width }: TableStyle): string {
  if (timestamp === undefined) return "-";
  const date = timestampDate(timestamp);
  if (width === undefined) return date.toISOString();
  const two = (value: number): string => String(value).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

function aboutText({ type, metadata, cursor }: Event, idText: IdText): string {
  if (type === EventType.BOOKMARK) return `cursor=${cursor}`;
  if (metadata === undefined) return "";
  const { sessionId, containerId, taskId, agentId } = metadata;
  const priority = enumWord(PrioritySchema, metadata.priority);
  return pairsText(
    Object.fromEntries(
      [
        ["session", idText(sessionId)],
        ["container", idText(containerId)],
        ["task", taskId],
        ["agent", agentId],
        ["priority", metadata.priority === 0 || priority === "normal" ? "" : priority],
      ].filter(([, value]) => value !== ""),
    ),
  );
}

function toneOf(type: string): Tone {
  if (/(error|failed|violation|lost)$/.test(type)) return "bad";
  if (/(expiring|threshold)$/.test(type)) return "warning";
  if (/(created|started|registered|recovered|startup|completed)$/.test(type)) return "good";
  return "plain";
}

/** Of the longest type. */
const TYPE_WIDTH = 18;

/** Columns that have room for three whole ids. */
const WIDE = 180;
