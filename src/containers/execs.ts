import { type Call, systemCall } from "../call.ts";
import { Failure, invalid } from "../failure.ts";
import type { Exec } from "../runtime/runtime.ts";
import { changed, put, remove } from "../store/store.ts";
import {
  type Container,
  containerEvent,
  containerTable,
  knownContainer,
  madeContainer,
} from "./container.ts";
import { callSource } from "./creation.ts";
import {
  type ExecEnd,
  type ExecId,
  type ExecInput,
  type ExecOutput,
  type ExecStart,
  execTable,
  type OpenExec,
  signalOf,
  startViolations,
} from "./exec.ts";
import { engineSource } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { untilAborted } from "./until-aborted.ts";

/** How long output may still come after its process was killed, in milliseconds: a child may hold the pipe. */
const drainMs = 2_000;

/** Commands that run in containers. */
export class Execs {
  readonly #parts: ContainerParts;
  readonly #maxExecs: number;
  #running = 0;

  constructor(parts: ContainerParts, options: { readonly maxExecs: number }) {
    this.#parts = parts;
    this.#maxExecs = options.maxExecs;
  }

  /** How many run now. */
  get running(): number {
    return this.#running;
  }

  /**
   * Runs a command; yields `started`, its output, and exactly one `end`. The command is killed when its time is over,
   * when the caller goes away (the signal aborts or the iteration is left), or when `input` throws.
   *
   * Failures before `started`: NOT_FOUND, FAILED_PRECONDITION (the container doesn't run), INVALID_ARGUMENT,
   * RESOURCE_EXHAUSTED (too many at once), UNAVAILABLE (engine).
   */
  async *run(
    start: ExecStart,
    input: AsyncIterable<ExecInput>,
    call: Call,
  ): AsyncGenerator<ExecOutput, void, undefined> {
    const violations = startViolations(start);
    if (violations.length > 0) throw invalid("run a command", violations);
    const { store, runtime } = this.#parts;
    const wanted = { id: start.containerId, doing: "run a command in container" };
    const container = knownContainer(await store.get(containerTable, start.containerId), wanted);
    const runtimeId = madeContainer(container, wanted.doing);
    if (this.#running >= this.#maxExecs) throw tooMany(this.#maxExecs);
    this.#running += 1;
    try {
      await this.#parts.touch(container.sessionId);
      await using exec = await runtime.exec(runtimeId, start, call.signal);
      const open = await this.#begin(container, start, call);
      yield* this.#follow({ exec, open, container, start, input, call });
    } finally {
      this.#running -= 1;
    }
  }

  /** Ends in the log what a server before this one has left running: nobody can know any more how it ended. */
  async settleLeftovers(call: Call): Promise<number> {
    const { rows } = await this.#parts.store.list(execTable, { limit: 10_000 });
    const end: ExecEnd = { kind: "unknown", reason: "the server stopped while it ran" };
    for (const open of rows) await this.#finish(open, { end, call, source: engineSource });
    return rows.length;
  }

  async *#follow(running: Running): AsyncGenerator<ExecOutput, void, undefined> {
    const { exec, open, start, call } = running;
    const stopping = new AbortController();
    const timer =
      start.timeoutNs === 0n
        ? undefined
        : setTimeout(() => stopping.abort(timedOut), timerMs(start.timeoutNs));
    const state: State = { end: undefined, signals: [], inputFailure: undefined };
    const pumping = this.#pump(running, state, stopping);
    try {
      yield { kind: "started", id: open.id };
      const cut = AbortSignal.any([call.signal, stopping.signal]);
      for await (const chunk of this.#output(exec, cut)) {
        yield { kind: chunk.stream, data: chunk.data };
        await this.#parts.touch(running.container.sessionId);
      }
      state.end = await this.#outcome(running, state, stopping.signal);
      if (state.inputFailure !== undefined) throw state.inputFailure;
      const at = await this.#finish(open, { end: state.end, call });
      yield { kind: "end", end: state.end, at };
    } finally {
      clearTimeout(timer);
      stopping.abort(new Failure("cancelled", "Cannot go on with the command: its stream has ended"));
      await pumping;
      if (state.end === undefined) await this.#abandon(running);
    }
  }

  /** The output until it ends, or until shortly after the command was killed because `cut` has aborted. */
  async *#output(exec: Exec, cut: AbortSignal) {
    const drained = new AbortController();
    const kill = () => {
      setTimeout(() => drained.abort(), drainMs).unref();
      this.#parts.background.start("kill a command", (signal) => kill9(exec, signal));
    };
    if (cut.aborted) kill();
    else cut.addEventListener("abort", kill, { once: true });
    try {
      yield* untilAborted(exec.output, drained.signal);
    } finally {
      cut.removeEventListener("abort", kill);
    }
  }

  /** Hands the caller's frames on. Whatever is wrong with them ends the command and is the call's outcome. */
  async #pump({ exec, start, input, call }: Running, state: State, stopping: AbortController): Promise<void> {
    try {
      if (!start.stdin) await exec.closeStdin();
      for await (const frame of untilAborted(input, stopping.signal)) {
        await this.#take(frame, {
          exec,
          start,
          state,
          signal: AbortSignal.any([call.signal, stopping.signal]),
        });
      }
      if (start.stdin && !stopping.signal.aborted) await exec.closeStdin();
    } catch (error) {
      if (stopping.signal.aborted || call.signal.aborted) return;
      state.inputFailure = error;
      stopping.abort(error);
    }
  }

  async #take(
    frame: ExecInput,
    to: {
      readonly exec: Exec;
      readonly start: ExecStart;
      readonly state: State;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    switch (frame.kind) {
      case "stdin":
        if (!to.start.stdin) {
          throw invalid("run a command", [
            { field: "stdin", description: "came although start.stdin was not set" },
          ]);
        }
        return await to.exec.write(frame.data, to.signal);
      case "close_stdin":
        return await to.exec.closeStdin();
      case "resize":
        return await unlessEnded(to.exec, to.signal, () => to.exec.resize(frame, to.signal));
      case "signal": {
        const known = signalOf(frame.name);
        if (known === undefined) {
          throw invalid("signal a command", [
            { field: "signal", description: `is "${frame.name.slice(0, 32)}", which is no signal` },
          ]);
        }
        to.state.signals.push(known);
        return await unlessEnded(to.exec, to.signal, () => to.exec.signal(known.name, to.signal));
      }
    }
  }

  async #outcome({ exec, start, call }: Running, state: State, stopping: AbortSignal): Promise<ExecEnd> {
    if (stopping.aborted && stopping.reason === timedOut)
      return { kind: "timed_out", timeoutNs: start.timeoutNs };
    if (stopping.aborted) return { kind: "cancelled", reason: "its input was wrong" };
    if (call.signal.aborted) return { kind: "cancelled", reason: cancelReason(call) };
    try {
      const outcome = await exec.outcome(call.signal);
      if (outcome.kind === "running")
        return { kind: "unknown", reason: "its output ended while it was running" };
      if (outcome.kind === "unknown") return outcome;
      const sent = state.signals.findLast(({ number }) => outcome.code === 128 + number);
      return sent
        ? { kind: "signalled", signal: sent.name, number: sent.number }
        : { kind: "exited", code: outcome.code };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return { kind: "unknown", reason: error.message };
    }
  }

  async #begin(container: Container, start: ExecStart, call: Call): Promise<OpenExec> {
    const { store, clock } = this.#parts;
    const open: OpenExec = {
      id: Bun.randomUUIDv7() as ExecId, // this is where exec ids are made
      containerId: container.id,
      sessionId: container.sessionId,
      sessionLabels: container.sessionLabels,
      command: start.command.map((word) => word.slice(0, 256)).slice(0, 16),
      startedAt: clock(),
    };
    const data = { exec_id: open.id, command: open.command.join(" ").slice(0, 1_024) };
    const { actor, correlationId } = call;
    const event = containerEvent(container, {
      type: "exec_started",
      source: callSource,
      at: open.startedAt,
      actor,
      correlationId,
      data,
    });
    return await store.change({}, () => changed(open, [put(execTable, open)], [event]));
  }

  async #finish(
    open: OpenExec,
    finish: { readonly end: ExecEnd; readonly call: Call; readonly source?: string },
  ): Promise<number> {
    const { store, clock } = this.#parts;
    const { end, call } = finish;
    const at = clock();
    const event = {
      type: "exec_finished" as const,
      source: finish.source ?? callSource,
      at,
      actor: call.actor,
      correlationId: call.correlationId,
      sessionId: open.sessionId,
      containerId: open.containerId,
      labels: open.sessionLabels,
      data: { exec_id: open.id, ...endData(end) },
    };
    await store.change({}, () => changed(undefined, [remove(execTable, open.id)], [event]));
    return at;
  }

  /** The caller is gone: the command is killed, and the log says so. */
  async #abandon({ exec, open, call }: Running): Promise<void> {
    const end: ExecEnd = { kind: "cancelled", reason: cancelReason(call) };
    await kill9(exec, AbortSignal.timeout(this.#parts.times.operationMs));
    const by = call.signal.aborted ? { ...systemCall(call.signal), actor: call.actor } : call;
    await this.#finish(open, { end, call: by });
  }
}

interface Running {
  readonly exec: Exec;
  readonly open: OpenExec;
  readonly container: Container;
  readonly start: ExecStart;
  readonly input: AsyncIterable<ExecInput>;
  readonly call: Call;
}

interface State {
  end: ExecEnd | undefined;
  /** Those that the caller has sent, in order. */
  readonly signals: { readonly name: string; readonly number: number }[];
  inputFailure: unknown;
}

const timedOut = new Failure("deadline_exceeded", "Cannot go on with the command: its timeout_ns is over");

/** Timers overflow after 24.8 days; a command that may run longer is given that. */
function timerMs(timeoutNs: bigint): number {
  return Math.min(Number(timeoutNs / 1_000_000n), 2_147_483_647);
}

/** Does to a command what makes no difference to one that has ended meanwhile: its end is what the caller waits for. */
async function unlessEnded(exec: Exec, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const isRefusal =
      error instanceof Failure && (error.kind === "failed_precondition" || error.kind === "not_found");
    if (!isRefusal || (await exec.outcome(signal)).kind === "running") throw error;
  }
}

async function kill9(exec: Exec, signal: AbortSignal): Promise<void> {
  try {
    await exec.signal("KILL", signal);
  } catch (error) {
    // It has ended already, or this engine gives no way to it; either way there is nothing more to do.
    if (!(error instanceof Failure)) throw error;
  }
}

function cancelReason(call: Call): string {
  const { reason } = call.signal;
  return reason instanceof Error ? reason.message : "its caller went away";
}

function endData(end: ExecEnd): Record<string, string> {
  switch (end.kind) {
    case "exited":
      return { end: "exited", exit_code: String(end.code) };
    case "signalled":
      return { end: "signalled", signal: end.signal };
    case "timed_out":
      return { end: "timed_out", timeout_ns: String(end.timeoutNs) };
    default:
      return { end: end.kind, reason: end.reason };
  }
}

function tooMany(most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot run a command: ${most} run already, which is the most at once`,
    {
      reason: "TOO_MANY_EXECS",
      retryAfterMs: 1_000,
    },
  );
}
