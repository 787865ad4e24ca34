import type { Instant } from "../events/event.ts";
import type { Progress, Status } from "./live-task.ts";
import type { Piece } from "./piece.ts";
import type { Recorded } from "./recording.ts";
import type { TaskError, TaskResult, TaskState } from "./task.ts";

/** What a worker says came out: its result, and what it has of output. */
export interface WorkerResult {
  readonly result: TaskResult;
  readonly outputData: Uint8Array;
  readonly outputText: string;
  readonly errorText: string;
}

/** A frame of a caller. */
type CallerFrame =
  | {
      readonly kind: "input";
      readonly data: Uint8Array;
      readonly metadata: Readonly<Record<string, string>>;
      /** Whether no more input comes after it, from anybody. */
      readonly isLast: boolean;
    }
  | { readonly kind: "cancel"; readonly reason: string; readonly how: "graceful" | "force" };

/** A frame of a worker. */
export type WorkerFrame =
  | ({ readonly kind: "progress" } & Progress)
  | {
      readonly kind: "output";
      readonly stream: string;
      readonly data: Uint8Array;
      readonly text: string;
    }
  | { readonly kind: "status"; readonly state: TaskState | "unspecified"; readonly message: string }
  | ({ readonly kind: "complete"; readonly taskId: string } & WorkerResult)
  | { readonly kind: "error"; readonly error: TaskError };

/** A frame that a client sends on a task's stream. */
export type TaskFrame =
  | CallerFrame
  | WorkerFrame
  | { readonly kind: "heartbeat" }
  | { readonly kind: "none" };

/** A frame that a client gets. */
export type TaskAnswer =
  | { readonly kind: "output"; readonly piece: Piece; readonly missing: number }
  | ({ readonly kind: "status" } & Status)
  | ({ readonly kind: "progress" } & Progress)
  | ({ readonly kind: "complete"; readonly taskId: string; readonly at: Instant } & WorkerResult)
  | { readonly kind: "error"; readonly error: TaskError }
  | { readonly kind: "heartbeat" };

export function isWorkers(frame: TaskFrame): frame is WorkerFrame {
  return ["progress", "output", "status", "complete", "error"].includes(frame.kind);
}

/** What a reader is told of what it has read up to a byte: once, how much before it is missing. */
export function* outputAnswers(
  { pieces, missing }: Recorded,
  end: number,
): Generator<TaskAnswer, void, undefined> {
  let untold = missing;
  for (const piece of pieces) {
    yield { kind: "output", piece, missing: untold };
    untold = 0;
  }
  // There is nothing behind what is missing: an empty piece says so.
  if (untold > 0) yield { kind: "output", piece: nothingAt(end), missing: untold };
}

/** A piece without a byte. */
function nothingAt(offset: number): Piece {
  const text = { stream: "", text: "", data: new Uint8Array(0), metadata: {} };
  return { offset, size: 0, attempt: 0, isLast: false, ...text };
}
