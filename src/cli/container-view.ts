import { HealthSchema } from "../gen/proto/common/v1/common_pb.ts";
import {
  type Container,
  ContainerSchema,
  ContainerState,
  ContainerStateSchema,
  type Mount,
  MountTypeSchema,
  type PortBinding,
  type RestartPolicy,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Cell, cell, stateCell } from "./cell.ts";
import { limitsText } from "./limits-view.ts";
import type { Record } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import type { Column } from "./table.ts";
import { enumWord, pairsText, type TimeStyle, timeCell } from "./words.ts";

export function containerColumns(times: TimeStyle): readonly Column<Container>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "NAME", of: ({ config }) => cell(config?.name || "-", config?.name ? "plain" : "faint") },
    { title: "STATE", of: ({ state }) => stateCell(enumWord(ContainerStateSchema, state)) },
    { title: "EXIT", of: (container) => exitCell(container) },
    { title: "SESSION", of: ({ sessionId }) => cell(sessionId), isId: true },
    { title: "CREATED", of: ({ createdAt }) => timeCell(createdAt, times) },
    { title: "IMAGE", of: ({ image }) => cell(image) },
    {
      title: "COMMAND",
      of: ({ config }) => cell([...(config?.command ?? []), ...(config?.args ?? [])].join(" "), "faint"),
    },
  ];
}

/** One container, with all that is set. */
export function containerRecord(container: Container, times: TimeStyle): Record {
  return {
    id: container.id,
    value: () => jsonOf(ContainerSchema, container),
    rows: () => rows(container, times),
  };
}

/** The exit code, where there is one. */
export function exitCell({
  state,
  exitCode,
  oomKilled,
}: Pick<Container, "state" | "exitCode" | "oomKilled">): Cell {
  if (state !== ContainerState.EXITED) return cell("-", "faint");
  return cell(oomKilled ? `${exitCode} (out of memory)` : String(exitCode), exitCode === 0 ? "plain" : "bad");
}

function rows(container: Container, times: TimeStyle): readonly (readonly [string, Cell])[] {
  const { config } = container;
  const optional: readonly (readonly [string, string])[] = [
    ["Why", container.stateReason],
    [
      "Memory",
      container.oomKilled ? "a process of it was killed: it wanted more than the container may have" : "",
    ],
    ["Name", config?.name ?? ""],
    ["Engine name", container.name],
    ["Command", [...(config?.command ?? []), ...(config?.args ?? [])].join(" ")],
    ["Environment", pairsText(config?.env ?? {})],
    ["Folder", config?.workingDir ?? ""],
    ["Labels", pairsText(config?.labels ?? {})],
    ["Limits", config?.resourceLimits === undefined ? "" : limitsText(config.resourceLimits)],
    [
      "Network",
      [config?.networkMode ?? "", ...(config?.networks ?? [])].filter((name) => name !== "").join(", "),
    ],
    ["Ports", (config?.ports ?? []).map(portText).join(", ")],
    ["Mounts", (config?.mounts ?? []).map(mountText).join(", ")],
    ["Root", config?.readOnlyRootfs === true ? "read-only" : ""],
    ["Restarts", restartText(config?.restartPolicy)],
    ["When it stops", config?.removeOnStop === true ? "it is removed" : ""],
    ["Health", container.health === 0 ? "" : enumWord(HealthSchema, container.health)],
    ["Engine id", container.runtimeId],
    ["Digest", container.imageDigest],
  ];
  return [
    ["ID", cell(container.id)],
    ["State", stateCell(enumWord(ContainerStateSchema, container.state))],
    ["Exit code", exitCell(container)],
    ["Session", cell(container.sessionId)],
    ["Image", cell(container.image)],
    ["Created", timeCell(container.createdAt, times)],
    ...(container.startedAt === undefined
      ? []
      : [["Started", timeCell(container.startedAt, times)] as const]),
    ...(container.exitedAt === undefined ? [] : [["Exited", timeCell(container.exitedAt, times)] as const]),
    ...optional.filter(([, text]) => text !== "").map(([label, text]) => [label, cell(text)] as const),
  ];
}

function portText({ hostIp, hostPort, containerPort, protocol }: PortBinding): string {
  const host = hostIp.includes(":") ? `[${hostIp}]` : hostIp;
  return `${host}:${hostPort} -> ${containerPort}/${protocol}`;
}

function mountText({ type, source, target, readOnly }: Mount): string {
  const from = source === "" ? enumWord(MountTypeSchema, type) : source;
  return `${from}:${target}${readOnly ? " (read-only)" : ""}`;
}

function restartText(policy: RestartPolicy | undefined): string {
  if (policy === undefined || policy.name === "" || policy.name === "no") return "";
  return policy.maximumRetryCount > 0 ? `${policy.name}, at most ${policy.maximumRetryCount}` : policy.name;
}
