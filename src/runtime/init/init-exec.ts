import { abortFailure, Failure } from "../../failure.ts";
import { COMMAND_MAY_RUN, type Exec, type ExecOutcome, type ExecSpec, type OutputChunk } from "../runtime.ts";
import { signalNumber } from "../signal-number.ts";
import { KIND, number32, sizeBody } from "./frames.ts";

/** How much output of one command may be under way or unread, in bytes. */
export const OUTPUT_WINDOW_BYTES = 1024 * 1024;
/** Room is granted again in steps of this, in bytes. */
const GRANT_BYTES = OUTPUT_WINDOW_BYTES / 4;
const SIGKILL = 9;
/** How long an init may take to kill a command, in milliseconds. */
const KILL_MS = 3_000;
/** The most input that the init holds, and that one frame carries, in bytes. */
const INPUT_BYTES = 64 * 1024;

interface InitExecParts {
  readonly id: number;
  readonly spec: ExecSpec;
  readonly signal: AbortSignal;
  readonly send: (kind: number, body?: Uint8Array) => void;
}

/** A command that the init runs. `take` and `cut` are the link's side of it. */
export class InitExec implements Exec {
  readonly id: string;
  readonly output: AsyncIterable<OutputChunk>;
  readonly #parts: InitExecParts;
  readonly #start = Promise.withResolvers<boolean>();
  #chunks: OutputChunk[] = [];
  /** Bytes that were read, or dropped, and not granted again yet. */
  #toGrant = 0;
  /** Bytes that may still come. */
  #window = OUTPUT_WINDOW_BYTES;
  #inputCredit = 0;
  #stdin: "open" | "closed";
  #status: number | undefined;
  #over = false;
  #cutBecause: string | undefined;
  #reader: "none yet" | "reading" | "left" = "none yet";
  #wakeReader = ignore;
  readonly #writers = new Set<() => void>();
  readonly #exited = Promise.withResolvers<void>();

  constructor(parts: InitExecParts) {
    this.#parts = parts;
    this.id = `init-${parts.id}`;
    this.#stdin = parts.spec.stdin ? "open" : "closed";
    this.output = this.#read();
    this.#start.promise.catch(ignore); // told to who waits for it
  }

  /**
   * Whether it runs; false when it can't be started this way and nothing of it has run.
   *
   * Failures: UNAVAILABLE when the init was lost and it may have begun; the signal's reason, and then it is ended.
   */
  async started(signal: AbortSignal): Promise<boolean> {
    const onAbort = () => this.#start.reject(abortFailure(signal));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await this.#start.promise;
    } catch (error) {
      this.#reader = "left";
      this.#parts.send(KIND.signal, Uint8Array.of(9));
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** What the init says of it. Throws a RangeError for what no init of ours says. */
  take(kind: number, body: Uint8Array): "goes on" | "ended" {
    switch (kind) {
      case KIND.started:
        this.#start.resolve(true);
        break;
      case KIND.failed:
        this.#start.resolve(false);
        return "ended";
      case KIND.stdout:
      case KIND.stderr:
        this.#takeOutput(kind === KIND.stdout ? "stdout" : "stderr", body);
        break;
      case KIND.stdinCredit:
        this.#inputCredit += Buffer.from(body).readUInt32LE();
        if (this.#inputCredit > INPUT_BYTES) throw new RangeError("it granted more input than it can hold");
        this.#wakeWriters();
        break;
      case KIND.exited:
        this.#status = Buffer.from(body).readUInt32LE();
        this.#stdin = "closed";
        this.#exited.resolve();
        this.#wakeWriters();
        break;
      case KIND.ended:
        this.#over = true;
        this.#wakeReader();
        return "ended";
      default:
        throw new RangeError(`it sent a frame of kind ${kind}`);
    }
    return "goes on";
  }

  /** The connection is gone: nothing more will be heard. */
  cut(reason: string): void {
    if (!this.#over) this.#cutBecause = reason;
    this.#over = true;
    this.#stdin = "closed";
    const message = `Cannot run a command in the container: whether it has begun is not known: ${reason}`;
    this.#start.reject(new Failure("unavailable", message, { reason: COMMAND_MAY_RUN }));
    this.#exited.resolve();
    this.#wakeReader();
    this.#wakeWriters();
  }

  async write(data: Uint8Array, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortFailure(signal);
    if (!this.#parts.spec.stdin)
      throw new Failure(
        "failed_precondition",
        `Cannot write to exec "${this.id}": it was started without stdin`,
      );
    for (let at = 0; at < data.length && this.#stdin === "open"; ) {
      const room = Math.min(this.#inputCredit, INPUT_BYTES);
      if (room === 0) {
        await this.#room(signal);
        continue;
      }
      const piece = data.subarray(at, at + room);
      this.#inputCredit -= piece.length;
      at += piece.length;
      this.#parts.send(KIND.stdin, piece);
    }
  }

  async closeStdin(): Promise<void> {
    if (this.#stdin === "closed") return;
    this.#stdin = "closed";
    this.#parts.send(KIND.closeStdin);
  }

  async resize(size: { readonly columns: number; readonly rows: number }): Promise<void> {
    this.#refuseEnded("resize the terminal of");
    this.#parts.send(KIND.resize, sizeBody(size));
  }

  async signal(name: string, signal: AbortSignal): Promise<void> {
    const number = signalNumber(name, `send ${name} to exec "${this.id}"`);
    this.#refuseEnded(`send ${name} to`);
    this.#parts.send(KIND.signal, Uint8Array.of(number));
    if (number === SIGKILL) await this.#untilKilled(signal);
  }

  async outcome(): Promise<ExecOutcome> {
    if (this.#cutBecause !== undefined) return { kind: "unknown", reason: this.#lostWords(this.#cutBecause) };
    if (this.#status === undefined) return { kind: "running" };
    return { kind: "exited", code: exitCode(this.#status) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeStdin();
    this.#leave();
  }

  #takeOutput(stream: OutputChunk["stream"], data: Uint8Array): void {
    this.#window -= data.length;
    if (data.length === 0) return;
    if (this.#window < 0) throw new RangeError("it sent more output than it was granted");
    if (this.#reader === "left") {
      this.#grant(data.length);
    } else {
      this.#chunks.push({ stream, data });
      this.#wakeReader();
    }
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    const { signal } = this.#parts;
    this.#reader = "reading";
    const onAbort = () => this.#wakeReader();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        if (signal.aborted) throw abortFailure(signal);
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          yield chunk;
          this.#grant(chunk.data.length);
        } else if (this.#cutBecause !== undefined && this.#status !== undefined) {
          // It has ended, and not all that it wrote has come.
          throw new Failure(
            "unavailable",
            `Cannot read on from exec "${this.id}": ${this.#lostWords(this.#cutBecause)}`,
          );
        } else if (this.#over) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#leave();
    }
  }

  /** Who left doesn't hold the command up: what it still says is dropped. */
  #leave(): void {
    this.#reader = "left";
    for (const { data } of this.#chunks.splice(0)) this.#grant(data.length);
  }

  #grant(bytes: number): void {
    this.#toGrant += bytes;
    if (this.#toGrant < GRANT_BYTES || this.#over) return;
    this.#window += this.#toGrant;
    this.#parts.send(KIND.credit, number32(this.#toGrant));
    this.#toGrant = 0;
  }

  async #room(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#writers.add(resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    this.#writers.delete(resolve);
    if (signal.aborted) throw abortFailure(signal);
  }

  #wakeWriters(): void {
    for (const wake of this.#writers) wake();
  }

  /** The init may have been stopped, or its container be frozen: that it was told is not that it was done. */
  async #untilKilled(signal: AbortSignal): Promise<void> {
    const late = Promise.withResolvers<"late">();
    const timer = setTimeout(() => late.resolve("late"), KILL_MS);
    const onAbort = () => late.resolve("late");
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if ((await Promise.race([this.#exited.promise, late.promise])) !== "late") return;
      const message = `Cannot kill exec "${this.id}": the init in its container does not answer`;
      throw new Failure("failed_precondition", message);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  #lostWords(why: string): string {
    return `the connection into the container was lost: ${why}`;
  }

  #refuseEnded(doing: string): void {
    if (this.#status === undefined && !this.#over) return;
    throw new Failure("failed_precondition", `Cannot ${doing} exec "${this.id}": it has ended`);
  }
}

/** As engines and shells have it: 128 and the number for a process that a signal ended. */
function exitCode(waitStatus: number): number {
  const signal = waitStatus & 0x7f;
  return signal === 0 ? (waitStatus >> 8) & 0xff : 128 + signal;
}

function ignore(): void {}
