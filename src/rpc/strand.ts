import type { Call } from "../call.ts";
import { Failure } from "../failure.ts";
import type { TaskAnswer, TaskFrame } from "../tasks/task-frames.ts";
import { correlationIdFrom } from "./correlation.ts";

/** How many bytes of frames one strand takes, each way. */
const strandBytes = 65_536;
/** What a frame counts for besides its bytes, which are those that it has when it is encoded. */
const frameBytes = 64;

/** One strand of a StreamTasks: what comes in on it, and the call that it is to the domain. */
export class Strand implements AsyncIterableIterator<TaskFrame> {
  readonly number: number;
  readonly call: Call;
  readonly #over = new AbortController();
  readonly #frames: TaskFrame[] = [];
  #waiting: ((next: IteratorResult<TaskFrame, undefined>) => void) | undefined;
  #halfClosed = false;
  #taken = 0;
  #given = 0;
  /** The byte of what went out that would come next, once some has. */
  #offset: number | undefined;

  constructor(of: { readonly number: number; readonly actor: string; readonly correlationId: string }) {
    this.number = of.number;
    const { actor } = of;
    this.call = { actor, correlationId: correlationIdFrom(of.correlationId), signal: this.#over.signal };
  }

  /** Takes what has come, of so many bytes; more than a strand takes ends it. */
  take(frame: TaskFrame, bytes: number): void {
    if (this.#halfClosed) return;
    if (this.#taken >= strandBytes) {
      this.leave(full());
      return;
    }
    this.#taken += frameBytes + bytes;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#frames.push(frame);
    else waiting({ done: false, value: frame });
  }

  halfClose(): void {
    this.#halfClosed = true;
    this.#waiting?.(ended);
  }

  /** Ends it from outside. */
  leave(why: unknown): void {
    this.#over.abort(why);
    this.halfClose();
  }

  /**
   * Counts what goes out, of so many bytes. Failures: RESOURCE_EXHAUSTED when it is more than a strand gives. How a task
   * has ended is always given.
   */
  give(answer: TaskAnswer, bytes: number): void {
    if (answer.kind === "output") {
      const { offset, size } = answer.piece;
      if (this.#given > 0 && this.#given + size > strandBytes) throw full(offset);
      this.#offset = offset + size;
    } else if (answer.kind === "progress" && this.#given >= strandBytes) {
      throw full(this.#offset);
    }
    this.#given += frameBytes + bytes;
  }

  next(): Promise<IteratorResult<TaskFrame, undefined>> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve({ done: false, value: frame });
    if (this.#halfClosed) return Promise.resolve(ended);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const ended: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** @param offset the byte of what went out to go on with */
function full(offset?: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the strand: it takes ${strandBytes} bytes of frames each way; go on with StreamTask`,
    { reason: "STRAND_FULL", metadata: offset === undefined ? {} : { offset: String(offset) } },
  );
}
