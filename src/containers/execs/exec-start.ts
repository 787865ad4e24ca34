import type { Call } from "../../call.ts";
import { Failure, type FailureKind } from "../../failure.ts";
import {
  COMMAND_MAY_RUN,
  type ExecSpec,
  type Exec as Process,
  type RuntimeId,
} from "../../runtime/runtime.ts";
import type { ContainerParts } from "../parts.ts";
import { plainReason } from "../plain-reason.ts";
import type { Exec, ExecEnd, ExecStart } from "./exec.ts";
import type { ExecJournal } from "./exec-journal.ts";

export interface ProcessStart {
  readonly journal: ExecJournal;
  readonly runtimeId: RuntimeId;
  readonly row: Exec;
  /** Whether its row is: nothing of it runs before. */
  readonly written: Promise<void>;
  readonly start: ExecStart;
  readonly call: Call;
}

/**
 * Has the engine prepare a command while its row is written, and begin it then. When it can't be begun, the log gets its end.
 * Fails as the writing does.
 */
export async function startProcess(
  parts: Pick<ContainerParts, "runtime" | "times">,
  { journal, runtimeId, row, written, start, call }: ProcessStart,
): Promise<Process> {
  try {
    return await inTime(parts, { runtimeId, spec: { ...start, after: written } });
  } catch (error) {
    await written;
    const reason = error instanceof Error ? plainReason(error) : String(error);
    const mayRun = error instanceof Failure && error.details.reason === COMMAND_MAY_RUN;
    const end: ExecEnd = { kind: "unknown", reason: mayRun ? reason : `it could not be started: ${reason}` };
    await journal.finish(row, { end, call, outputBytes: 0 });
    if (!(error instanceof Failure)) throw error;
    const doing = `Cannot run a command in container "${start.containerId}"`;
    const known = reasons[error.kind];
    const details =
      known === undefined ? {} : { reason: known, metadata: { container_id: start.containerId } };
    throw new Failure(error.kind, `${doing}: ${reason}`, { ...details, ...error.details, cause: error });
  }
}

/** What an engine that refuses to begin a command says of the container: its row had not heard of it yet. */
const reasons: Partial<Record<FailureKind, string>> = {
  failed_precondition: "CONTAINER_NOT_RUNNING",
  not_found: "CONTAINER_NOT_FOUND",
};

/** The caller's going away doesn't cut this short: what has begun to run has to be killed, and that takes its handle. */
async function inTime(
  { runtime, times }: Pick<ContainerParts, "runtime" | "times">,
  { runtimeId, spec }: { readonly runtimeId: RuntimeId; readonly spec: ExecSpec },
): Promise<Process> {
  const bound = new AbortController();
  const message = "Cannot run a command: the container engine did not begin in time";
  const late = new Failure("unavailable", message, { reason: "TIMED_OUT" });
  const timer = setTimeout(() => bound.abort(late), times.operationMs);
  try {
    return await runtime.exec(runtimeId, spec, bound.signal);
  } finally {
    clearTimeout(timer);
  }
}
