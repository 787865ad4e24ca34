import type { Call } from "../../call.ts";
import type { Instant } from "../../events/event.ts";
import { abortFailure, Failure, invalid } from "../../failure.ts";
import { longestTimerMs } from "../../longest-timer.ts";
import type { Exec as Process, RuntimeId } from "../../runtime/runtime.ts";
import { untilAborted } from "../../until-aborted.ts";
import type { Container } from "../container.ts";
import type { EndingWatch } from "../endings.ts";
import type { ContainerParts } from "../parts.ts";
import { plainReason } from "../plain-reason.ts";
import { touchIfPossible } from "../touch-if-possible.ts";
import { type Exec, type ExecEnd, type ExecInput, type ExecOutput, signalOf } from "./exec.ts";
import type { ExecJournal } from "./exec-journal.ts";
import { type Killing, killExec, unlessEnded } from "./exec-kill.ts";
import { type Ended, howItEnded } from "./exec-outcome.ts";
import type { ExecReaders } from "./exec-readers.ts";
import type { ExecRing } from "./exec-ring.ts";

/** How long output may still come after its process was killed, in milliseconds: a child may hold the pipe. */
const drainMs = 2_000;

export interface LiveExecParts {
  readonly parts: ContainerParts;
  readonly journal: ExecJournal;
  readonly row: Exec;
  /** As ExecStart has it. */
  readonly timeoutNs: bigint;
  readonly process: Process;
  /** The container as it was when the command was begun. */
  /** Its container as it was when it began. */
  readonly container: Pick<Container, "life" | "claimedAt">;
  readonly runtimeId: RuntimeId;
  readonly ending: EndingWatch;
  readonly ring: ExecRing;
  readonly readers: ExecReaders;
  /** Who has started it. */
  readonly call: Call;
}

/** A command of this server: it runs, or has ended a while ago. `output` is what moves it on. */
export class LiveExec {
  readonly row: Exec;
  readonly ring: ExecRing;
  readonly readers: ExecReaders;
  /** Set when it has ended. */
  ended: { readonly end: ExecEnd; readonly at: Instant } | undefined;
  #of: LiveExecParts;
  /** Aborts when it is to be killed, with the reason. */
  readonly #stop = new AbortController();
  readonly #signals: { readonly name: string; readonly number: number }[] = [];
  #killing: Promise<Killing> | undefined;
  #lost = "";

  constructor(of: LiveExecParts) {
    this.#of = of;
    this.row = of.row;
    this.ring = of.ring;
    this.readers = of.readers;
  }

  /** Has it killed. Without effect when it was to be killed before. */
  stop(reason: Failure): void {
    this.#stop.abort(reason);
  }

  /** Closes stdin if nobody may send any. */
  async begin(): Promise<void> {
    if (!this.row.stdin) await this.#of.process.closeStdin();
  }

  /**
   * Its output as it comes, and exactly one `end`; to be iterated once. What is not taken is not fetched; `waitFor` says
   * whether those who read the ring are waited for too. `abandon` has to follow, however it is left.
   */
  async *output(waitFor: "nobody" | "readers"): AsyncGenerator<ExecOutput, void, undefined> {
    const { timeoutNs } = this.#of;
    const timer =
      timeoutNs === 0n ? undefined : setTimeout(() => this.#stop.abort(timedOut), timerMs(timeoutNs));
    try {
      for await (const { stream, data } of this.#untilKilled()) {
        for (const part of waitFor === "nobody" ? [data] : this.#pieces(data)) {
          if (waitFor === "readers")
            await this.readers.readTo(this.ring.oldestAfter(part.byteLength), this.#stop.signal);
          const offset = this.ring.total;
          this.ring.append(stream, part);
          this.readers.tell(offset);
          yield { kind: stream, data: part, offset };
        }
        await touchIfPossible(this.#of.parts.touch(this.row.sessionId));
      }
      const at = await this.#finish(await howItEnded(await this.#facts()));
      yield { kind: "end", offset: this.ring.total, ...at };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Its output is taken no more: if it has not ended the command is killed, and the log says so. */
  async abandon(): Promise<void> {
    if (this.ended !== undefined) return;
    const { process, parts } = this.#of;
    const reason = reasonOf(this.#stop.signal);
    const killing = await killExec(process, AbortSignal.timeout(parts.times.operationMs));
    if (killing.kind === "ended") {
      await this.#finish(await howItEnded({ ...(await this.#facts()), killing: undefined }));
      return;
    }
    await this.#finish(
      killing.kind === "impossible"
        ? { kind: "unknown", reason: `${reason}, and it can't be killed: ${killing.reason}` }
        : { kind: "cancelled", reason },
    );
  }

  /** Does what a client's frame says. Failures: INVALID_ARGUMENT, FAILED_PRECONDITION, UNAVAILABLE (engine). */
  async take(frame: ExecInput, signal: AbortSignal): Promise<void> {
    const { process } = this.#of;
    if (this.ended !== undefined) return;
    switch (frame.kind) {
      case "stdin":
        if (!this.row.stdin)
          throw unexpected("run a command", "stdin", "came although start.stdin was not set");
        return await process.write(frame.data, signal);
      case "close_stdin":
        return await process.closeStdin();
      case "resize":
        if (!this.row.tty)
          throw unexpected("size the terminal", "resize", "came although start.tty was not set");
        return await unlessEnded(process, signal, () => process.resize(frame, signal));
      case "signal": {
        const known = signalOf(frame.name);
        if (known === undefined)
          throw unexpected(
            "signal a command",
            "signal",
            `is "${frame.name.slice(0, 32)}", which is no signal`,
          );
        this.#signals.push(known);
        return await unlessEnded(process, signal, () => process.signal(known.name, signal));
      }
    }
  }

  /** Small enough that one of them can be kept while the one before it is read. */
  *#pieces(data: Uint8Array): Generator<Uint8Array> {
    const size = Math.max(1, this.ring.capacityFor(data.byteLength) >> 1);
    for (let at = 0; at < data.byteLength; at += size) yield data.subarray(at, at + size);
  }

  /** The output until it ends, or until shortly after the command was killed. */
  async *#untilKilled() {
    const { process, parts } = this.#of;
    const stop = this.#stop.signal;
    const drained = new AbortController();
    const kill = () => {
      setTimeout(() => drained.abort(), drainMs).unref();
      this.#killing = killExec(process, AbortSignal.timeout(parts.times.operationMs));
      this.#killing.catch(() => {}); // its outcome is waited for later
    };
    if (stop.aborted) kill();
    else stop.addEventListener("abort", kill, { once: true });
    try {
      yield* untilAborted(process.output, drained.signal);
      if (drained.signal.aborted) this.#lost = "its output went on after it was killed";
    } catch (error) {
      // The engine is gone or has cut the stream: that is told by the end, as every outcome is.
      if (!(error instanceof Failure)) throw error;
      this.#lost = error.message;
    } finally {
      stop.removeEventListener("abort", kill);
    }
  }

  async #facts(): Promise<Ended> {
    const { process, parts, container, runtimeId, ending, timeoutNs } = this.#of;
    const stop = this.#stop.signal;
    return {
      process,
      runtime: parts.runtime,
      container: { ...container, runtimeId },
      ending,
      signals: this.#signals,
      killing: await this.#killing,
      cut:
        stop.reason === timedOut
          ? { kind: "timed_out", timeoutNs }
          : { kind: "cancelled", reason: reasonOf(stop) },
      lost: this.#lost,
      signal: AbortSignal.timeout(parts.times.operationMs),
    };
  }

  async #finish(end: ExecEnd): Promise<{ readonly end: ExecEnd; readonly at: Instant }> {
    const { journal, call, ending, process } = this.#of;
    const at = await journal.finish(this.row, { end, call, outputBytes: this.ring.total });
    this.ended = { end, at };
    this.readers.tell(this.ring.total);
    ending[Symbol.dispose]();
    // It is kept for a while; its words and environment, which may be large, are not.
    this.#of = { ...this.#of, process: nothing };
    await process[Symbol.asyncDispose]();
    return this.ended;
  }
}

/** Hands a client's frames on until they end or `signal` aborts; throws what is wrong with them. */
export async function passInput(
  exec: LiveExec,
  input: AsyncIterable<ExecInput>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const frame of untilAborted(input, signal)) await exec.take(frame, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Whether what went wrong with the input is the engine's doing, of which the end tells. */
export function isEngineLoss(error: unknown): boolean {
  return error instanceof Failure && error.kind === "unavailable";
}

/** Why a call that is over is over. */
export function callEnd(signal: AbortSignal): Failure {
  return signal.aborted
    ? abortFailure(signal)
    : new Failure("cancelled", "Cannot go on with the command: its caller went away");
}

/** What is left of the process of a command that has ended. */
const nothing: Process = {
  id: "",
  output: { async *[Symbol.asyncIterator]() {} },
  write: async () => {},
  closeStdin: async () => {},
  resize: async () => {},
  signal: async () => {},
  outcome: async () => ({ kind: "unknown", reason: "it has ended long ago" }),
  [Symbol.asyncDispose]: async () => {},
};

const timedOut = new Failure("deadline_exceeded", "Cannot go on with the command: its timeout_ns is over");

function reasonOf({ aborted, reason }: AbortSignal): string {
  return aborted && reason instanceof Error ? plainReason(reason) : "its caller went away";
}

function unexpected(doing: string, field: string, description: string): Failure {
  return invalid(doing, [{ field, description }]);
}

/** Timers overflow after 24.8 days; a command that may run longer is given that. */
function timerMs(timeoutNs: bigint): number {
  return Math.min(Number(timeoutNs / 1_000_000n), longestTimerMs);
}
