import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ContainerId } from "../containers/container.ts";
import type { ExecEnd, ExecInput, ExecOutput, ExecStart } from "../containers/exec.ts";
import type { Execs } from "../containers/execs.ts";
import { invalid } from "../failure.ts";
import type {
  ExecContainerRequest,
  ExecContainerResponseSchema,
  ExecEndSchema,
  OrchestratorService,
  TerminalSize,
  ExecStart as WireStart,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { requiredId, timestamp } from "./wire-values.ts";

/** The largest terminal, in characters either way. */
const maxTerminalSide = 65_535;

/** OrchestratorService's call that runs a command in a container. */
export function execCalls(execs: Execs): Handlers<typeof OrchestratorService> {
  return {
    execContainer: async function* (requests, call) {
      const frames = requests[Symbol.asyncIterator]();
      const first = await frames.next();
      const payload = first.done ? undefined : first.value.payload;
      if (payload?.case !== "start") {
        throw invalid("run a command", [
          { field: "start", description: "is missing; it has to be the first frame" },
        ]);
      }
      const rest = { [Symbol.asyncIterator]: () => frames };
      for await (const output of execs.run(startOf(payload.value), inputsOf(rest), askedBy(call))) {
        yield toWireOutput(output);
      }
    },
  };
}

function startOf(wire: WireStart): ExecStart {
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
  };
}

async function* inputsOf(requests: AsyncIterable<ExecContainerRequest>): AsyncGenerator<ExecInput> {
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

function toWireOutput(output: ExecOutput): MessageInitShape<typeof ExecContainerResponseSchema> {
  switch (output.kind) {
    case "started":
      return { payload: { case: "started", value: { execId: output.id } } };
    case "stdout":
    case "stderr":
      return { payload: { case: output.kind, value: output.data } };
    case "end":
      return {
        payload: { case: "end", value: { how: toWireEnd(output.end), endedAt: timestamp(output.at) } },
      };
  }
}

function toWireEnd(end: ExecEnd): NonNullable<MessageInitShape<typeof ExecEndSchema>["how"]> {
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
