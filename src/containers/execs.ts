import type { Call } from "../call.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import { longestTimerMs } from "../longest-timer.ts";
import type { Exec, RuntimeId } from "../runtime/runtime.ts";
import { type Container, containerTable, knownContainer, runningContainer } from "./container.ts";
import {
  type ExecEnd,
  type ExecInput,
  type ExecOutput,
  type ExecStart,
  type OpenExec,
  signalOf,
  startViolations,
} from "./exec.ts";
import { ExecJournal } from "./exec-journal.ts";
import { type Killing, killExec, unlessEnded } from "./exec-kill.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";
import { untilAborted } from "./until-aborted.ts";

/** How long output may still come after its process was killed, in milliseconds: a child may hold the pipe. */
const drainMs = 2_000;

/** Commands that run in containers. */
export class Execs {
  readonly #parts: ContainerParts;
  readonly #maxExecs: number;
  readonly #journal: ExecJournal;
  #running = 0;

  constructor(parts: ContainerParts, options: { readonly maxExecs: number }) {
    this.#parts = parts;
    this.#maxExecs = options.maxExecs;
    this.#journal = new ExecJournal(parts);
  }

  /** How many run now, which is what the bound is on. */
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
    const { store } = this.#parts;
    const wanted = { id: start.containerId, doing: "run a command in container" };
    const container = knownContainer(await store.get(containerTable, start.containerId), wanted);
    const runtimeId = runningContainer(container, wanted.doing);
    if (this.#running >= this.#maxExecs) throw tooMany(this.#maxExecs);
    this.#running += 1;
    try {
      await this.#touch(container);
      if (call.signal.aborted) throw abortFailure(call.signal);
      // The intent first: what runs in a container is in the log, whatever becomes of this server.
      const open = await this.#journal.begin(container, start, call);
      await using exec = await this.#startOrFinish(runtimeId, { open, start, call });
      yield* this.#follow({ exec, open, container, start, input, call });
    } finally {
      this.#running -= 1;
    }
  }

  /** See ExecJournal. */
  async settleLeftovers(call: Call): Promise<number> {
    return await this.#journal.settleLeftovers(call);
  }

  async #startOrFinish(
    id: RuntimeId,
    { open, start, call }: { readonly open: OpenExec; readonly start: ExecStart; readonly call: Call },
  ): Promise<Exec> {
    try {
      return await this.#start(id, start);
    } catch (error) {
      const reason = error instanceof Error ? plainReason(error) : String(error);
      const end: ExecEnd = { kind: "unknown", reason: `it could not be started: ${reason}` };
      await this.#journal.finish(open, { end, call });
      if (!(error instanceof Failure)) throw error;
      const doing = `Cannot run a command in container "${start.containerId}"`;
      throw new Failure(error.kind, `${doing}: ${reason}`, { ...error.details, cause: error });
    }
  }

  /** The caller's going away doesn't cut this short: what has begun to run has to be killed, and that takes its handle. */
  async #start(id: RuntimeId, start: ExecStart): Promise<Exec> {
    const bound = new AbortController();
    const late = new Failure(
      "unavailable",
      "Cannot run a command: the container engine did not begin in time",
      {
        reason: "TIMED_OUT",
      },
    );
    const timer = setTimeout(() => bound.abort(late), this.#parts.times.operationMs);
    try {
      return await this.#parts.runtime.exec(id, start, bound.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async *#follow(running: Running): AsyncGenerator<ExecOutput, void, undefined> {
    const { exec, open, start, call } = running;
    const stopping = new AbortController();
    const timer =
      start.timeoutNs === 0n
        ? undefined
        : setTimeout(() => stopping.abort(timedOut), timerMs(start.timeoutNs));
    const cut = AbortSignal.any([call.signal, stopping.signal]);
    const state: State = {
      end: undefined,
      signals: [],
      inputFailure: undefined,
      killing: undefined,
      lost: "",
    };
    const pumping = this.#pump(running, state, stopping);
    try {
      yield { kind: "started", id: open.id };
      for await (const chunk of this.#output(exec, { cut, state })) {
        yield { kind: chunk.stream, data: chunk.data };
        await this.#touch(running.container);
      }
      state.end = await this.#outcome(running, state, cut);
      const at = await this.#journal.finish(open, { end: state.end, call });
      if (state.inputFailure !== undefined) throw state.inputFailure;
      yield { kind: "end", end: state.end, at };
    } finally {
      clearTimeout(timer);
      stopping.abort(new Failure("cancelled", "Cannot go on with the command: its stream has ended"));
      await pumping;
      if (state.end === undefined) await this.#abandon(running, cut);
    }
  }

  /** The output until it ends, or until shortly after the command was killed because `cut` has aborted. */
  async *#output(exec: Exec, { cut, state }: { readonly cut: AbortSignal; readonly state: State }) {
    const drained = new AbortController();
    const kill = () => {
      setTimeout(() => drained.abort(), drainMs).unref();
      state.killing = killExec(exec, AbortSignal.timeout(this.#parts.times.operationMs));
      state.killing.catch(() => {}); // its outcome is waited for later
    };
    if (cut.aborted) kill();
    else cut.addEventListener("abort", kill, { once: true });
    try {
      yield* untilAborted(exec.output, drained.signal);
      if (drained.signal.aborted) state.lost = "its output went on after it was killed";
    } catch (error) {
      // The engine is gone or has cut the stream: that is told by the end, as every outcome is.
      if (!(error instanceof Failure)) throw error;
      state.lost = error.message;
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
      // That the engine is gone is nothing that the caller did: the end frame tells of it.
      if (!(error instanceof Failure && error.kind === "unavailable")) state.inputFailure = error;
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
        if (!to.start.tty) {
          throw invalid("size the terminal", [
            { field: "resize", description: "came although start.tty was not set" },
          ]);
        }
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

  /** How it ended, of which `cut` (its time-out, its caller) is the reason only if it did not end by itself before. */
  async #outcome({ exec, start }: Running, state: State, cut: AbortSignal): Promise<ExecEnd> {
    const killing = await state.killing;
    if (killing?.kind === "impossible")
      return { kind: "unknown", reason: `${cutReason(cut)}, and it can't be killed: ${killing.reason}` };
    if (killing?.kind === "killed" || (killing?.kind === "ended" && state.lost !== "")) {
      if (cut.reason === timedOut) return { kind: "timed_out", timeoutNs: start.timeoutNs };
      return { kind: "cancelled", reason: cutReason(cut) };
    }
    const signal = AbortSignal.timeout(this.#parts.times.operationMs);
    try {
      const outcome = await exec.outcome(signal);
      if (outcome.kind === "running") {
        // Nobody can read what it says any more.
        await killExec(exec, signal);
        return { kind: "unknown", reason: state.lost || "its output ended while it was running" };
      }
      if (outcome.kind === "unknown") return outcome;
      const sent = state.signals.findLast(({ number }) => outcome.code === 128 + number);
      return sent
        ? { kind: "signalled", signal: sent.name, number: sent.number }
        : { kind: "exited", code: outcome.code };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return { kind: "unknown", reason: state.lost || error.message };
    }
  }

  /** Its reader is gone: the command is killed, and the log says so. */
  async #abandon({ exec, open, call }: Running, cut: AbortSignal): Promise<void> {
    const reason = call.signal.aborted ? cutReason(cut) : "its caller went away";
    const killing = await killExec(exec, AbortSignal.timeout(this.#parts.times.operationMs));
    const end: ExecEnd =
      killing.kind === "impossible"
        ? { kind: "unknown", reason: `${reason}, and it can't be killed: ${killing.reason}` }
        : { kind: "cancelled", reason };
    await this.#journal.finish(open, { end, call });
  }

  /** A full disk, on which activity can't be noted, is no reason to end a command. */
  async #touch({ sessionId }: Container): Promise<void> {
    try {
      await this.#parts.touch(sessionId);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
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
  /** Set when it was to be killed. */
  killing: Promise<Killing> | undefined;
  /** Why its output did not come to its end; empty if it did. */
  lost: string;
}

const timedOut = new Failure("deadline_exceeded", "Cannot go on with the command: its timeout_ns is over");

/** Timers overflow after 24.8 days; a command that may run longer is given that. */
function timerMs(timeoutNs: bigint): number {
  return Math.min(Number(timeoutNs / 1_000_000n), longestTimerMs);
}

function cutReason(cut: AbortSignal): string {
  return cut.reason instanceof Error ? plainReason(cut.reason) : "its caller went away";
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
