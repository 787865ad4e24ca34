import { chunkEnd } from "./chunk.ts";
import type { LiveTurn, Piece } from "./live-turn.ts";

/** How an answer is cut for one reader. */
export interface Cut {
  /** Bytes of UTF-8 a chunk; 0: as the assistant sends it. */
  readonly maxBytes: number;
  /** Whether it is read while it is made, or when it is whole. */
  readonly when: "made" | "whole";
}

/** A piece of an answer for a reader. */
export interface Chunk {
  /** From 0. */
  readonly sequence: number;
  readonly text: string;
  /** Of the answer up to here, in UTF-8. */
  readonly totalBytes: number;
  readonly place: "middle" | "last";
  /** The piece that it is, where it is the same chunk for all who read the pieces as they came. */
  readonly piece: Piece | undefined;
}

/** One reader's way through an answer: it holds a place in it and nothing else. */
export class AnswerReader {
  readonly turn: LiveTurn;
  readonly #cut: Cut;
  #pieces: readonly Piece[];
  #piece = 0;
  #from = 0;
  #isDone = false;
  /** What has been read so far. */
  bytes = 0;
  chunks = 0;

  constructor(turn: LiveTurn, cut: Cut) {
    this.turn = turn;
    this.#cut = cut;
    this.#pieces = turn.pieces;
  }

  /** The next chunk; `wait` when there is none yet, and `over` when there will be none. */
  next(): Chunk | "wait" | "over" {
    const { over } = this.turn;
    if (this.#isDone || over?.end.kind === "cancelled") return "over";
    if (this.#cut.when === "whole") {
      if (over === undefined) return "wait";
      if (over.end.kind !== "answered") return "over";
      if (this.chunks === 0) this.#pieces = [joined(this.turn)];
    }
    const piece = this.#pieces[this.#piece];
    if (piece !== undefined) return this.#chunkOf(piece);
    if (over === undefined) return "wait";
    this.#isDone = true;
    // The assistant has said that it is done after its last words.
    return over.end.kind === "answered" ? this.#chunk("", "last") : "over";
  }

  #chunkOf(piece: Piece): Chunk {
    const from = this.#from;
    const { end, bytes } =
      from === 0 && (this.#cut.maxBytes === 0 || piece.bytes <= this.#cut.maxBytes)
        ? { end: piece.text.length, bytes: piece.bytes }
        : chunkEnd(piece.text, { from, maxBytes: this.#cut.maxBytes });
    const isWhole = from === 0 && end === piece.text.length;
    const shared = isWhole && this.chunks === this.#piece && this.#cut.when === "made" ? piece : undefined;
    if (end === piece.text.length) {
      this.#piece += 1;
      this.#from = 0;
    } else this.#from = end;
    this.bytes += bytes;
    const isLast =
      this.#from === 0 && this.#piece === this.#pieces.length && this.turn.over?.end.kind === "answered";
    if (isLast) this.#isDone = true;
    return this.#chunk(
      isWhole ? piece.text : piece.text.slice(from, end),
      isLast ? "last" : "middle",
      shared,
    );
  }

  #chunk(text: string, place: Chunk["place"], piece?: Piece): Chunk {
    const sequence = this.chunks;
    this.chunks += 1;
    return { sequence, text, totalBytes: this.bytes, place, piece };
  }
}

function joined(turn: LiveTurn): Piece {
  return { text: turn.pieces.map(({ text }) => text).join(""), bytes: turn.bytes };
}
