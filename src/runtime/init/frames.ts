/** The version of what is spoken with the init; init/init.c says the same. */
export const PROTOCOL = 2;

/** What a frame is; init/init.c says what each carries. */
export const KIND = {
  start: 1,
  stdin: 2,
  closeStdin: 3,
  resize: 4,
  signal: 5,
  credit: 6,
  claim: 7,
  letGo: 8,
  claimHeld: 9,
  hello: 64,
  started: 65,
  stdout: 66,
  stderr: 67,
  exited: 68,
  ended: 69,
  failed: 70,
  stdinCredit: 71,
  claimed: 72,
  notClaimed: 73,
  claiming: 74,
  ending: 75,
} as const;

/** What a process is to be. */
export interface Words {
  /** Empty: as it is. */
  readonly workingDir: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The most that the init takes in one frame, in bytes; command and environment have to fit. */
export const MAX_FRAME_BYTES = 1 << 23;

const HEAD_BYTES = 8;

/** One frame: the number of the command that it is about, what it is, and what it carries. */
export function frame(id: number, kind: number, body: Uint8Array = new Uint8Array()): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + body.length);
  bytes.writeUInt32LE(id, 0);
  bytes.writeUInt8(kind, 4);
  bytes.writeUIntLE(body.length, 5, 3);
  bytes.set(body, HEAD_BYTES);
  return bytes;
}

export function number32(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function sizeBody(size: { readonly columns: number; readonly rows: number }): Uint8Array {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt16LE(size.columns, 0);
  bytes.writeUInt16LE(size.rows, 2);
  return bytes;
}

export function startBody(
  words: Words,
  options: {
    readonly tty: boolean;
    readonly stdin: boolean;
    readonly size: { readonly columns: number; readonly rows: number } | undefined;
    /** How many bytes of output may come before more is granted. */
    readonly credit: number;
  },
): Uint8Array {
  const flags = (options.tty ? 1 : 0) | (options.stdin ? 2 : 0);
  const size = sizeBody(options.size ?? { columns: 0, rows: 0 });
  return Buffer.concat([Uint8Array.of(flags), size, number32(options.credit), wordsBody(words)]);
}

export function wordsBody({ workingDir, command, env }: Words): Uint8Array {
  const entries = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const text = [workingDir, ...command, ...entries].map((word) => `${word}\0`).join("");
  return Buffer.concat([number32(command.length), number32(entries.length), Buffer.from(text)]);
}

/** A frame from the init, or a piece of one that carries output. */
export interface Received {
  readonly id: number;
  readonly kind: number;
  readonly body: Uint8Array;
}

/** Frames of what no honest init says are refused by this many bytes; output may be longer, and is not collected. */
const MAX_WHOLE_BYTES = 1_024;

/** Takes frames apart. Output is handed on as it comes, without a copy; what else there is comes whole. */
export class FrameReader {
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headFilled = 0;
  #left = 0;
  #pieces: Uint8Array[] = [];

  /** Throws a RangeError for bytes that no init sends. */
  *read(bytes: Uint8Array): Generator<Received, void, undefined> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headFilled < HEAD_BYTES) {
        at += this.#fillHead(bytes.subarray(at));
        if (this.#headFilled < HEAD_BYTES) return;
        this.#left = this.#head.readUIntLE(5, 3);
        if (this.#left === 0) yield this.#next(new Uint8Array());
        continue;
      }
      const piece = bytes.subarray(at, at + this.#left);
      at += piece.length;
      this.#left -= piece.length;
      if (this.#carriesOutput) {
        yield this.#next(piece);
        continue;
      }
      this.#pieces.push(piece);
      if (this.#pieces.reduce((sum, { length }) => sum + length, this.#left) > MAX_WHOLE_BYTES) {
        throw new RangeError("it sent a frame that is too long");
      }
      if (this.#left === 0) yield this.#next(Buffer.concat(this.#pieces));
    }
  }

  get #carriesOutput(): boolean {
    const kind = this.#head.readUInt8(4);
    return kind === KIND.stdout || kind === KIND.stderr;
  }

  #fillHead(bytes: Uint8Array): number {
    const taken = Math.min(HEAD_BYTES - this.#headFilled, bytes.length);
    this.#head.set(bytes.subarray(0, taken), this.#headFilled);
    this.#headFilled += taken;
    return taken;
  }

  #next(body: Uint8Array): Received {
    if (this.#left === 0) {
      this.#headFilled = 0;
      this.#pieces = [];
    }
    return { id: this.#head.readUInt32LE(0), kind: this.#head.readUInt8(4), body };
  }
}
