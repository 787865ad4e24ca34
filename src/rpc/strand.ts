import type { Call } from "../call.ts";
import { Failure } from "../failure.ts";
import type { TaskAnswer, TaskFrame } from "../tasks/task-frames.ts";
import { correlationIdFrom } from "./correlation.ts";

/** How many bytes of frames one strand takes, each way. */
const strandBytes = 65_536;
/** What a frame counts for besides the bytes of its data and texts. */
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

  /** Takes what has come; more than a strand takes ends it. */
  take(frame: TaskFrame): void {
    if (this.#halfClosed) return;
    if (this.#taken >= strandBytes) {
      this.leave(full());
      return;
    }
    this.#taken += bytesIn(frame);
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
   * Counts what goes out, and gives for how many bytes. Failures: RESOURCE_EXHAUSTED when it is more than a strand gives.
   * How a task has ended is always given.
   */
  give(answer: TaskAnswer): number {
    if (answer.kind === "output") {
      const { offset, size } = answer.piece;
      if (this.#given > 0 && this.#given + size > strandBytes) throw full(offset);
      this.#offset = offset + size;
    } else if (answer.kind === "progress" && this.#given >= strandBytes) {
      throw full(this.#offset);
    }
    const bytes = bytesIn(answer);
    this.#given += bytes;
    return bytes;
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

/**
 * What a frame counts for: little more than the bytes that it has when it is encoded, and much cheaper to know.
 */
function bytesIn(frame: TaskFrame | TaskAnswer): number {
  switch (frame.kind) {
    case "input":
      return frameBytes + frame.data.byteLength + bytesOfMap(frame.metadata);
    case "output": {
      if (!("piece" in frame)) return frameBytes + frame.data.byteLength + bytesOf(frame.text, frame.stream);
      const { size, stream, metadata } = frame.piece;
      return frameBytes + size + bytesOf(stream) + bytesOfMap(metadata);
    }
    case "progress":
      return frameBytes + bytesOf(frame.message) + bytesOfMap(frame.details);
    case "status":
      return frameBytes + bytesOf(frame.message);
    case "complete": {
      const { result, outputData, outputText, errorText } = frame;
      const texts = bytesOf(outputText, errorText) + bytesOfMap(result.metadata);
      return frameBytes + outputData.byteLength + texts;
    }
    case "error": {
      const { code, message, details, stackTrace } = frame.error;
      return frameBytes + bytesOf(code, message, stackTrace, ...details);
    }
    case "cancel":
      return frameBytes + bytesOf(frame.reason);
    case "heartbeat":
    case "none":
      return frameBytes;
  }
}

function bytesOf(...texts: readonly string[]): number {
  let bytes = 0;
  for (const text of texts) bytes += Buffer.byteLength(text);
  return bytes;
}

function bytesOfMap(map: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(map)) bytes += bytesOf(name, value);
  return bytes;
}

/** @param offset the byte of what went out to go on with */
function full(offset?: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the strand: it takes ${strandBytes} bytes of frames each way; go on with StreamTask`,
    { reason: "STRAND_FULL", metadata: offset === undefined ? {} : { offset: String(offset) } },
  );
}
