import type { Call } from "../call.ts";
import { Failure } from "../failure.ts";
import type { Piece } from "../tasks/piece.ts";
import type { TaskFrame } from "../tasks/task-frames.ts";
import { correlationIdFrom } from "./correlation.ts";

/** How many bytes of frames one strand takes, each way. */
const strandBytes = 65_536;
/** What a frame counts for besides its bytes. */
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

  constructor(of: { readonly number: number; readonly actor: string; readonly correlationId: string }) {
    this.number = of.number;
    const { actor } = of;
    this.call = { actor, correlationId: correlationIdFrom(of.correlationId), signal: this.#over.signal };
  }

  /** Takes what has come; more than a strand takes ends it. */
  take(frame: TaskFrame): void {
    if (this.#halfClosed) return;
    if (this.#taken >= strandBytes) {
      this.leave(full());
      return;
    }
    this.#taken += frameBytes + bytesIn(frame);
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

  /** Counts what goes out. Failures: RESOURCE_EXHAUSTED when a piece is more than a strand gives. */
  give(piece: Piece): void {
    if (this.#given > 0 && this.#given + piece.size > strandBytes) throw full(piece.offset);
    this.#given += frameBytes + piece.size;
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

function bytesIn(frame: TaskFrame): number {
  if (frame.kind === "input") return frame.data.byteLength;
  return frame.kind === "output" ? frame.data.byteLength + Buffer.byteLength(frame.text) : 0;
}

/** @param offset the byte of what went out to go on with */
function full(offset?: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the strand: it takes ${strandBytes} bytes of frames each way; go on with StreamTask`,
    { reason: "STRAND_FULL", metadata: offset === undefined ? {} : { offset: String(offset) } },
  );
}
