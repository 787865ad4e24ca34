/** How much of an output a task's result repeats, bytes: all of it is in what the task has streamed. */
const MAX_BYTES = 64 * 1024;

/** The beginning of one output, for the task's result. */
export class Captured {
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;
  #isCut = false;

  get isCut(): boolean {
    return this.#isCut;
  }

  add(data: Uint8Array): void {
    const room = MAX_BYTES - this.#bytes;
    const piece = data.slice(0, room);
    if (piece.byteLength < data.byteLength) this.#isCut = true;
    if (piece.byteLength === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }

  /** As text, or undefined where it is none. A character that was cut at the end is left out. */
  text(): string | undefined {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(this.bytes(), { stream: true });
    } catch {
      return undefined; // bytes of another kind
    }
  }
}
