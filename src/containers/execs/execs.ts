import type { Call } from "../../call.ts";
import { Bell } from "../../events/bell.ts";
import { abortFailure, Failure, invalid } from "../../failure.ts";
import { removeOld } from "../../store/remove-old.ts";
import type { Listing } from "../../store/store.ts";
import type { PagePlace } from "../../store/table.ts";
import { commandIn, containerTable, knownContainer, runningContainer } from "../container.ts";
import type { ContainerParts } from "../parts.ts";
import { touchIfPossible } from "../touch-if-possible.ts";
import {
  type Exec,
  type ExecId,
  type ExecInput,
  type ExecLife,
  type ExecOutput,
  type ExecStart,
  execTable,
  startViolations,
} from "./exec.ts";
import { type Attaching, attachTo, endOnly } from "./exec-attachment.ts";
import { ExecJournal } from "./exec-journal.ts";
import { ExecReaders } from "./exec-readers.ts";
import { ExecRings } from "./exec-ring.ts";
import { startProcess } from "./exec-start.ts";
import { callEnd, isEngineLoss, LiveExec, passInput } from "./live-exec.ts";

/** How often those that have ended long ago are looked for, in milliseconds. */
const forgetEveryMs = 5_000;

export interface ExecLimits {
  readonly maxExecs: number;
  /** Streams that read one command at once. */
  readonly maxAttachments: number;
  /** How long a command that goes on alone waits for one of them that reads nothing, in milliseconds. */
  readonly readPatienceMs: number;
  /** Of one command's output that is kept, in bytes. */
  readonly outputBytes: number;
  /** The same of all commands together. */
  readonly outputTotalBytes: number;
  /** How many that have ended are kept. */
  readonly maxEnded: number;
  /** And for how long, in milliseconds. */
  readonly keepEndedMs: number;
}

export interface ExecFilter {
  readonly containerId?: string;
  readonly sessionId?: string;
  readonly state?: ExecLife["state"];
}

/** A command as it is shown. */
export interface ExecView {
  readonly exec: Exec;
  /** Streams that read it now. */
  readonly attached: number;
  readonly outputBytes: number;
  /** The oldest byte of its output that is kept. */
  readonly oldestOffset: number;
}

/** Commands that run in containers, and those that have ended a while ago. */
export class Execs {
  readonly #parts: ContainerParts;
  readonly #limits: ExecLimits;
  readonly #journal: ExecJournal;
  readonly #rings: ExecRings;
  /** Those of this server; those that have ended are in the order of their ends, behind which others may still run. */
  readonly #live = new Map<ExecId, LiveExec>();
  readonly #ended = new Set<LiveExec>();
  #running = 0;

  constructor(parts: ContainerParts, limits: ExecLimits) {
    this.#parts = parts;
    this.#limits = limits;
    this.#journal = new ExecJournal(parts);
    this.#rings = new ExecRings({ maxBytes: limits.outputBytes, totalBytes: limits.outputTotalBytes });
  }

  /** How many run now, which is what the bound is on. */
  get running(): number {
    return this.#running;
  }

  /**
   * Runs a command; yields `started`, its output, and exactly one `end`. The command is killed when its time is over;
   * unless it may go on without its caller, also when that goes away (the signal aborts or the iteration is left), or
   * when `input` throws.
   *
   * Failures before `started`: NOT_FOUND, FAILED_PRECONDITION (the container doesn't run), INVALID_ARGUMENT,
   * RESOURCE_EXHAUSTED (too many at once), UNAVAILABLE (engine). Later, of one that goes on without its caller, also those
   * of `attach`.
   */
  async *run(
    start: ExecStart,
    input: AsyncIterable<ExecInput>,
    call: Call,
  ): AsyncGenerator<ExecOutput, void, undefined> {
    const exec = await this.#begin(start, call);
    if (start.onDisconnect === "kill") yield* this.#runFor(exec, input, call);
    else yield* attachTo(exec, { offset: 0, input, inputEnd: "closes_stdin", call });
  }

  /**
   * Joins a command: yields `started`, its output from `offset` on (the oldest that is kept when absent), and exactly one
   * `end`. Leaving it, and what is wrong with `input`, leaves the command alone.
   *
   * Failures: NOT_FOUND, OUT_OF_RANGE (the output there is not kept any more, also later), INVALID_ARGUMENT (beyond its
   * end; a frame that is wrong), RESOURCE_EXHAUSTED (too many attachments), UNAVAILABLE (it is just being started).
   */
  async *attach(
    id: ExecId,
    attaching: Omit<Attaching, "inputEnd">,
  ): AsyncGenerator<ExecOutput, void, undefined> {
    const live = this.#live.get(id);
    if (live !== undefined) {
      yield* attachTo(live, { ...attaching, inputEnd: "changes_nothing" });
      return;
    }
    const exec = await this.#known(id, "attach to");
    if (exec.life.state === "running") throw notYet(id, "attach to");
    yield* endOnly(exec.id, exec.life, attaching.offset);
  }

  /** Failures: NOT_FOUND. */
  async get(id: ExecId): Promise<ExecView> {
    return this.#view(await this.#known(id, "get"));
  }

  /** Commands, newest first. */
  async list(page: {
    readonly filter: ExecFilter;
    readonly limit: number;
    readonly after?: PagePlace | undefined;
  }): Promise<Listing<ExecView>> {
    const { filter, limit, after } = page;
    const where = { ...filter };
    const options = { where, limit, after, descending: true, total: true } as const;
    const listing = await this.#parts.store.list(execTable, options);
    return { ...listing, rows: listing.rows.map((row) => this.#view(row)) };
  }

  /** Sends a signal. Failures: NOT_FOUND, FAILED_PRECONDITION (it has ended, or can't be reached), INVALID_ARGUMENT. */
  async signal(id: ExecId, name: string, call: Call): Promise<ExecView> {
    const exec = await this.#known(id, "signal");
    const live = this.#live.get(id);
    if (live === undefined && exec.life.state === "running") throw notYet(id, "signal");
    if (live === undefined || live.ended !== undefined) {
      throw new Failure("failed_precondition", `Cannot signal command "${id}": it has ended`, {
        reason: "EXEC_ENDED",
        metadata: { exec_id: id },
      });
    }
    await live.take({ kind: "signal", name }, call.signal);
    return this.#view(exec);
  }

  /** See ExecJournal. */
  async settleLeftovers(call: Call): Promise<number> {
    return await this.#journal.settleLeftovers(call);
  }

  /** Forgets those that have ended long ago, or are too many, until the signal aborts. */
  async forgetEnded(signal: AbortSignal): Promise<void> {
    const bell = new Bell();
    signal.addEventListener("abort", bell.ring, { once: true });
    while (!signal.aborted) {
      await this.forgetOnce(signal);
      await bell.wait(forgetEveryMs);
    }
  }

  /** The same once. */
  async forgetOnce(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#parts;
    const { keepEndedMs, maxEnded } = this.#limits;
    const old = clock() - keepEndedMs;
    for (const exec of this.#ended) {
      if (exec.ended === undefined || exec.ended.at > old) break;
      this.#forget(exec);
    }
    const ended = { where: { state: "ended" }, orderBy: "endedAt" } as const;
    await removeOld(store, execTable, { ...ended, until: old, most: maxEnded, signal });
  }

  async #begin(start: ExecStart, call: Call): Promise<LiveExec> {
    const violations = startViolations(start);
    if (violations.length > 0) throw invalid("run a command", violations);
    const { store, endings, touch } = this.#parts;
    const wanted = { id: start.containerId, doing: "run a command in container" };
    const container = knownContainer(await store.get(containerTable, start.containerId), wanted);
    const runtimeId = runningContainer(container, wanted.doing);
    if (this.#running >= this.#limits.maxExecs) throw tooMany(this.#limits.maxExecs);
    this.#running += 1;
    const ending = endings.watch(container.id);
    try {
      const touched = touchIfPossible(touch(container.sessionId));
      if (call.signal.aborted) throw abortFailure(call.signal);
      // The intent first: what runs in a container is in the log, whatever becomes of this server.
      const { row, written } = this.#journal.begin(container, start, call);
      const starting = startProcess(this.#parts, {
        journal: this.#journal,
        runtimeId,
        row,
        written,
        start: commandIn(container, start),
        call,
      });
      const [process] = await Promise.all([starting, touched]);
      const exec = new LiveExec({
        parts: this.#parts,
        journal: this.#journal,
        row,
        timeoutNs: start.timeoutNs,
        process,
        container,
        runtimeId,
        ending,
        ring: this.#rings.open(),
        readers: new ExecReaders({
          most: this.#limits.maxAttachments,
          patienceMs: this.#limits.readPatienceMs,
        }),
        call,
      });
      this.#live.set(row.id, exec);
      if (start.onDisconnect === "detach") this.#runAlone(exec);
      return exec;
    } catch (error) {
      this.#running -= 1;
      ending[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs for its caller, who holds it up by not reading, and ends it by leaving. */
  async *#runFor(
    exec: LiveExec,
    input: AsyncIterable<ExecInput>,
    call: Call,
  ): AsyncGenerator<ExecOutput, void, undefined> {
    const over = new AbortController();
    const stop = () => exec.stop(callEnd(call.signal));
    let wrong: unknown;
    if (call.signal.aborted) stop();
    else call.signal.addEventListener("abort", stop, { once: true });
    const pumping = this.#pump(exec, input, AbortSignal.any([call.signal, over.signal])).catch(
      (error: unknown) => {
        if (isEngineLoss(error)) return exec.stop(callEnd(call.signal));
        wrong = error;
        exec.stop(error instanceof Failure ? error : callEnd(call.signal));
      },
    );
    try {
      yield { kind: "started", id: exec.row.id, offset: 0 };
      for await (const output of exec.output("nobody")) {
        if (output.kind === "end" && wrong !== undefined) throw wrong;
        yield output;
      }
    } finally {
      call.signal.removeEventListener("abort", stop);
      over.abort();
      await pumping;
      await this.#over(exec);
    }
  }

  async #pump(exec: LiveExec, input: AsyncIterable<ExecInput>, signal: AbortSignal): Promise<void> {
    await exec.begin();
    await passInput(exec, input, signal);
    if (!signal.aborted) await exec.take({ kind: "close_stdin" }, signal);
  }

  /** Runs whoever reads it, until it ends or the server stops. */
  #runAlone(exec: LiveExec): void {
    let begun = false;
    this.#parts.background.start("run a command", async (signal) => {
      begun = true;
      const stop = () => exec.stop(abortFailure(signal));
      signal.addEventListener("abort", stop, { once: true });
      try {
        await exec.begin();
        for await (const _ of exec.output("readers"));
      } finally {
        signal.removeEventListener("abort", stop);
        await this.#over(exec);
      }
    });
    if (!begun) exec.stop(new Failure("unavailable", "Cannot go on: the server is shutting down"));
  }

  async #over(exec: LiveExec): Promise<void> {
    try {
      await exec.abandon();
    } finally {
      this.#running -= 1;
    }
    this.#rings.ended(exec.ring);
    this.#ended.add(exec);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= this.#limits.maxEnded) break;
      this.#forget(oldest);
    }
  }

  #forget(exec: LiveExec): void {
    this.#ended.delete(exec);
    this.#live.delete(exec.row.id);
    this.#rings.drop(exec.ring);
  }

  async #known(id: ExecId, doing: string): Promise<Exec> {
    const exec = await this.#parts.store.get(execTable, id);
    if (exec !== undefined) return exec;
    throw new Failure(
      "not_found",
      `Cannot ${doing} command "${id}": there is none with this id (it may have ended long ago; the log has its story)`,
      { reason: "EXEC_NOT_FOUND", metadata: { exec_id: id } },
    );
  }

  #view(exec: Exec): ExecView {
    const live = this.#live.get(exec.id);
    if (live === undefined) {
      const outputBytes = exec.life.state === "ended" ? (exec.life.outputBytes ?? 0) : 0;
      return { exec, attached: 0, outputBytes, oldestOffset: outputBytes };
    }
    const { total, oldest } = live.ring;
    const shown = { attached: live.readers.count, outputBytes: total, oldestOffset: oldest };
    // Its end may not be written yet, as on a full disk.
    if (live.ended === undefined) return { exec, ...shown };
    const { end, at: endedAt } = live.ended;
    return { exec: { ...exec, life: { state: "ended", end, endedAt, outputBytes: total } }, ...shown };
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

/** Its row comes before its process, and one that a server before this one has left is settled soon after the start. */
function notYet(id: ExecId, doing: string): Failure {
  return new Failure("unavailable", `Cannot ${doing} command "${id}": it is just being started, or settled`, {
    reason: "EXEC_NOT_READY",
    metadata: { exec_id: id },
    retryAfterMs: 100,
  });
}
