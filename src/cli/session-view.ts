import { toJson } from "@bufbuild/protobuf";
import {
  type Session,
  SessionSchema,
  SessionStateSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Cell, cell, stateCell } from "./cell.ts";
import { limitsText } from "./limits-view.ts";
import type { Record } from "./output.ts";
import type { Column } from "./table.ts";
import { enumWord, limitText, pairsText, type TimeStyle, timeCell } from "./words.ts";

export function sessionColumns(times: TimeStyle): readonly Column<Session>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "STATE", of: ({ state }) => stateCell(enumWord(SessionStateSchema, state)) },
    { title: "NAME", of: ({ metadata }) => cell(metadata?.name ?? "") },
    { title: "OWNER", of: ({ metadata }) => cell(metadata?.ownerId ?? "") },
    { title: "CONTAINERS", of: ({ containerIds }) => cell(String(containerIds.length)) },
    { title: "CREATED", of: ({ createdAt }) => timeCell(createdAt, times) },
    { title: "LABELS", of: ({ metadata }) => cell(pairsText(metadata?.labels ?? {}), "faint") },
  ];
}

/** One session, with all that is set. */
export function sessionRecord(session: Session, times: TimeStyle): Record {
  return {
    id: session.id,
    value: () => toJson(SessionSchema, session, { alwaysEmitImplicit: true }),
    rows: () => rows(session, times),
  };
}

function rows(session: Session, times: TimeStyle): readonly (readonly [string, Cell])[] {
  const { metadata, context } = session;
  const config = context?.config;
  const policy = config?.policy;
  const optional: readonly (readonly [string, string])[] = [
    ["Name", metadata?.name ?? ""],
    ["Description", metadata?.description ?? ""],
    ["Owner", metadata?.ownerId ?? ""],
    ["Labels", pairsText(metadata?.labels ?? {})],
    ["Tags", (metadata?.tags ?? []).join(", ")],
    ["Closed because", session.closeReason],
    ["Closed by", session.closedBy],
    ["Containers", session.containerIds.join(", ")],
    ["Allowed images", (config?.allowedImages ?? []).join(", ")],
    ["Allowed networks", (policy?.allowedNetworks ?? []).join(", ")],
    ["Allowed paths", (policy?.allowedPaths ?? []).join(", ")],
    ["Resource limits", config?.resourceLimits === undefined ? "" : limitsText(config.resourceLimits)],
  ];
  return [
    ["ID", cell(session.id)],
    ["State", stateCell(enumWord(SessionStateSchema, session.state))],
    ["Created", timeCell(session.createdAt, times)],
    ["Updated", timeCell(session.updatedAt, times)],
    ...(session.expiresAt === undefined ? [] : [["Expires", timeCell(session.expiresAt, times)] as const]),
    ...(session.closedAt === undefined ? [] : [["Closed", timeCell(session.closedAt, times)] as const]),
    ...optional.filter(([, text]) => text !== "").map(([label, text]) => [label, cell(text)] as const),
    ["Max containers", cell(String(config?.maxContainers ?? 0))],
    ["Idle time-out", cell(limitText(config?.idleTimeoutNs ?? 0n))],
    ["Max duration", cell(limitText(config?.maxDurationNs ?? 0n))],
    ["Network", cell(policy?.allowNetwork === true ? "its own" : "none")],
    ...(policy?.allowVolumeMount === true ? [["Mounts", cell("allowed")] as const] : []),
    ...(policy?.requireApproval === true ? [["Approval", cell("required")] as const] : []),
    ["Messages", cell(String(context?.messages.length ?? 0))],
  ];
}
