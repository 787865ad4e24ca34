import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ContainerId } from "../containers/container.ts";
import type { ExecEnd, ExecInput, ExecLife, ExecOutput, ExecStart } from "../containers/execs/exec.ts";
import type { ExecFilter, ExecView } from "../containers/execs/execs.ts";
import type { Instant } from "../events/event.ts";
import { invalid } from "../failure.ts";
import {
  type ExecContainerResponseSchema,
  type ExecEndSchema,
  type ExecSchema,
  ExecState,
  ExecStateSchema,
  type TerminalSize,
  type AttachExecRequest as WireAttachRequest,
  type ExecFilter as WireFilter,
  type ExecContainerRequest as WireRequest,
  type ExecStart as WireStart,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { count32, knownEnum, requiredId, timestamp } from "./wire-values.ts";

/** The largest terminal, in characters either way. */
const maxTerminalSide = 65_535;

const states: Readonly<Record<ExecLife["state"], ExecState>> = {
  running: ExecState.RUNNING,
  ended: ExecState.ENDED,
};

export function execStartOf(wire: WireStart): ExecStart {
  return {
    containerId: requiredId<ContainerId>(wire.containerId, "start.container_id"),
    command: wire.command,
    env: wire.env,
    workingDir: wire.workingDir,
    user: wire.user,
    tty: wire.tty,
    stdin: wire.stdin,
    ...(wire.size === undefined ? {} : { size: sizeOf(wire.size, "start.size") }),
    timeoutNs: wire.timeoutNs,
    onDisconnect: wire.detachOnDisconnect ? "detach" : "kill",
  };
}

/** A place in a command's output. Failures: INVALID_ARGUMENT when no output can be so long. */
export function offsetOf(wire: bigint | undefined, field: string): number | undefined {
  if (wire === undefined) return undefined;
  if (wire >= 0n && wire <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(wire);
  throw invalid("attach to a command", [
    { field, description: `is ${wire}, which is no place in any output` },
  ]);
}

/** What the frames behind the first say. */
export async function* execInputsOf(
  requests: AsyncIterable<WireRequest | WireAttachRequest>,
): AsyncGenerator<ExecInput> {
  for await (const { payload } of requests) {
    switch (payload.case) {
      case "stdin":
        yield { kind: "stdin", data: payload.value };
        break;
      case "closeStdin":
        yield { kind: "close_stdin" };
        break;
      case "resize":
        yield { kind: "resize", ...sizeOf(payload.value, "resize") };
        break;
      case "signal":
        yield { kind: "signal", name: payload.value };
        break;
      case "start":
        throw invalid("run a command", [
          { field: "start", description: "came twice; it has to be the first frame only" },
        ]);
      default:
        throw invalid("run a command", [{ field: "payload", description: "is missing" }]);
    }
  }
}

export function execFilterOf(wire: WireFilter | undefined): ExecFilter {
  if (wire === undefined) return {};
  const state = knownEnum(ExecStateSchema, wire.state, "filter.state");
  return {
    ...(wire.containerId === "" ? {} : { containerId: wire.containerId }),
    ...(wire.sessionId === "" ? {} : { sessionId: wire.sessionId }),
    ...(state === ExecState.UNSPECIFIED ? {} : { state: state === ExecState.RUNNING ? "running" : "ended" }),
  };
}

export function toWireExec(view: ExecView): MessageInitShape<typeof ExecSchema> {
  const { exec } = view;
  const { life } = exec;
  return {
    id: exec.id,
    containerId: exec.containerId,
    sessionId: exec.sessionId,
    command: [...exec.command],
    state: states[life.state],
    startedAt: timestamp(exec.startedAt),
    ...(life.state === "ended" ? { end: toWireEnd(life.end, life.endedAt) } : {}),
    tty: exec.tty,
    stdin: exec.stdin,
    detachOnDisconnect: exec.onDisconnect === "detach",
    attached: count32(view.attached),
    outputBytes: BigInt(view.outputBytes),
    oldestOffset: BigInt(view.oldestOffset),
  };
}

export function toWireOutput(output: ExecOutput): MessageInitShape<typeof ExecContainerResponseSchema> {
  const offset = BigInt(output.offset);
  switch (output.kind) {
    case "started":
      return { payload: { case: "started", value: { execId: output.id } }, offset };
    case "stdout":
    case "stderr":
      return { payload: { case: output.kind, value: output.data }, offset };
    case "end":
      return { payload: { case: "end", value: toWireEnd(output.end, output.at) }, offset };
  }
}

/** A terminal without columns or rows is none: programs divide by them. */
function sizeOf(size: TerminalSize, field: string) {
  const violations = (["columns", "rows"] as const)
    .filter((side) => size[side] < 1 || size[side] > maxTerminalSide)
    .map((side) => ({
      field: `${field}.${side}`,
      description: `is ${size[side]}; 1 to ${maxTerminalSide} are allowed`,
    }));
  if (violations.length > 0) throw invalid("size the terminal", violations);
  return { columns: size.columns, rows: size.rows };
}

function toWireEnd(end: ExecEnd, at: Instant): MessageInitShape<typeof ExecEndSchema> {
  return { how: toWireHow(end), endedAt: timestamp(at) };
}

function toWireHow(end: ExecEnd): NonNullable<MessageInitShape<typeof ExecEndSchema>["how"]> {
  switch (end.kind) {
    case "exited":
      return { case: "exited", value: { code: end.code } };
    case "signalled":
      return { case: "signalled", value: { signal: `SIG${end.signal}`, number: end.number } };
    case "timed_out":
      return { case: "timedOut", value: { timeoutNs: end.timeoutNs } };
    case "cancelled":
      return { case: "cancelled", value: { reason: end.reason } };
    case "unknown":
      return { case: "unknown", value: { reason: end.reason } };
  }
}
