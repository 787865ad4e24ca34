import {
  type GatewaySession,
  GatewaySessionSchema,
  GatewaySessionStateSchema,
} from "../gen/proto/gateway/v1/gateway_pb.ts";
import { type Cell, cell, stateCell } from "./cell.ts";
import type { Record } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import type { Column } from "./table.ts";
import { enumWord, limitText, pairsText, type TimeStyle, timeCell } from "./words.ts";

export function gatewayColumns(times: TimeStyle): readonly Column<GatewaySession>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "STATE", of: ({ state }) => stateCell(enumWord(GatewaySessionStateSchema, state)) },
    { title: "NAME", of: ({ metadata }) => cell(metadata?.name ?? "") },
    { title: "USER", of: ({ metadata }) => cell(metadata?.userId ?? "") },
    { title: "CLIENT", of: (session) => cell(clientText(session)) },
    { title: "CREATED", of: ({ createdAt }) => timeCell(createdAt, times) },
    { title: "LABELS", of: ({ metadata }) => cell(pairsText(metadata?.labels ?? {}), "faint") },
  ];
}

/** One gateway session, with all that is set. */
export function gatewayRecord(session: GatewaySession, times: TimeStyle): Record {
  return {
    id: session.id,
    value: () => jsonOf(GatewaySessionSchema, session),
    rows: () => rows(session, times),
  };
}

function rows(session: GatewaySession, times: TimeStyle): readonly (readonly [string, Cell])[] {
  const { metadata, config } = session;
  const stream = config?.streamConfig;
  const security = config?.security;
  const optional: readonly (readonly [string, string])[] = [
    ["Name", metadata?.name ?? ""],
    ["Description", metadata?.description ?? ""],
    ["User", metadata?.userId ?? ""],
    ["Client", clientText(session)],
    ["Labels", pairsText(metadata?.labels ?? {})],
    ["Tags", (metadata?.tags ?? []).join(", ")],
    ["Allowed origins", (security?.allowedOrigins ?? []).join(", ")],
  ];
  return [
    ["ID", cell(session.id)],
    ["Session", cell(session.orchestratorSessionId)],
    ["State", stateCell(enumWord(GatewaySessionStateSchema, session.state))],
    ["Created", timeCell(session.createdAt, times)],
    ["Updated", timeCell(session.updatedAt, times)],
    ...(session.expiresAt === undefined ? [] : [["Expires", timeCell(session.expiresAt, times)] as const]),
    ...(session.closedAt === undefined ? [] : [["Closed", timeCell(session.closedAt, times)] as const]),
    ...optional.filter(([, text]) => text !== "").map(([label, text]) => [label, cell(text)] as const),
    ["Time-out", cell(limitText(config?.timeoutNs ?? 0n))],
    ["Idle time-out", cell(limitText(config?.idleTimeoutNs ?? 0n))],
    ["Answers", cell(config?.enableStreaming === true ? "while they are made" : "when they are whole")],
    ["Chunk size", cell(stream?.chunkSize ? `${stream.chunkSize} bytes` : "as the assistant sends it")],
    ["Chunks hold", cell(stream?.enableDelta === true ? "what is new" : "all so far")],
    ["Max message size", cell(`${config?.maxMessageSize ?? 0} bytes`)],
    ...(security?.requireAuth === true ? [["Callers", cell("known ones only")] as const] : []),
  ];
}

function clientText({ metadata }: GatewaySession): string {
  return [metadata?.clientType ?? "", metadata?.clientVersion ?? ""].filter((text) => text !== "").join(" ");
}
