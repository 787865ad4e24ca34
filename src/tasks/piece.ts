/** Some output of a task, or some input for it: what came in one frame, as bytes, as text, or as both. */
export interface Piece {
  /** Of its first byte, in all that has come. */
  readonly offset: number;
  /** How many bytes it counts for: those of its data, and those of its text as UTF-8. */
  readonly size: number;
  /** `stdout`, `stderr`, `stdin`, or what the worker calls it. */
  readonly stream: string;
  /** The attempt that wrote it; 0 for input. */
  readonly attempt: number;
  readonly data: Uint8Array;
  readonly text: string;
  /** Input only: what else its caller says, and whether it says that no more comes. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly isLast: boolean;
}

/** A piece that is about to be recorded. */
export type NewPiece = Omit<Piece, "offset" | "size">;
