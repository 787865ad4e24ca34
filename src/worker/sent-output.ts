/** How much of a task's newest output is kept for a server that may not have got it, bytes. */
const KEPT_BYTES = 4 * 1024 * 1024;

/** Some output of one kind. */
export interface Piece {
  readonly data: Uint8Array;
  readonly streamType: string;
}

/** The newest output that was sent, so that what was on its way when a connection broke can be sent again. */
export class SentOutput {
  readonly #pieces: Piece[] = [];
  /** All bytes that were ever sent; the place of the first one that is kept. */
  #end = 0;
  #start = 0;

  get isEmpty(): boolean {
    return this.#end === 0;
  }

  add(piece: Piece): void {
    this.#pieces.push(piece);
    this.#end += piece.data.byteLength;
    while (this.#end - this.#start > KEPT_BYTES) {
      this.#start += this.#pieces.shift()?.data.byteLength ?? 0;
    }
  }

  /** What was sent behind the first `got` bytes, as far as it is kept. */
  behind(got: number): readonly Piece[] {
    let at = this.#start;
    return this.#pieces.flatMap((piece) => {
      const missing = at + piece.data.byteLength - got;
      at += piece.data.byteLength;
      if (missing <= 0) return [];
      return { ...piece, data: piece.data.subarray(Math.max(0, piece.data.byteLength - missing)) };
    });
  }
}
