import { Bell } from "../events/bell.ts";
import { Failure } from "../failure.ts";
import { changed, put, type Store } from "../store/store.ts";
import type { NewPiece, Piece } from "./piece.ts";
import { partsIn, type RecordedRow, recordingName, recordingTable, rowsOf } from "./recorded-rows.ts";
import type { TaskId } from "./task.ts";

export interface RecordingOptions {
  readonly store: Store;
  readonly taskId: TaskId;
  readonly kind: "output" | "input";
  /** How many of the first bytes are kept on disk. */
  readonly maxBytes: number;
  /** What becomes of what is not kept when its readers don't read on: whether its writer waits for them for a while, or in any case. */
  readonly unread: { readonly patienceMs: number } | "waits";
  /** Where it goes on, when it began before this server did. */
  readonly total: number;
  readonly kept: number;
  /** Hears, once, that from here on nothing is kept. */
  readonly onCut: (offset: number) => void;
}

/** How much is held in memory for readers at the tail, and how much may wait for the disk; bytes. */
const windowBytes = 1024 * 1024;
/** What waits for the disk is written when it is so much, or after so long. Bytes and milliseconds. */
const flushBytes = 256 * 1024;
const flushAfterMs = 25;
/** How long after the disk has refused a write it is tried again, in milliseconds. */
const retryMs = 1_000;

/** Somebody who reads a recording at a pace of their own. */
export interface RecordingReader extends Disposable {
  /** The next byte that it will read. */
  readonly offset: number;
  /** What comes next: undefined when there is nothing yet. */
  read(): Promise<Recorded | undefined>;
}

export interface Recorded {
  readonly pieces: readonly Piece[];
  /** How many bytes before them are not kept, or were not read in time. */
  readonly missing: number;
}

/**
 * What goes through a task in one direction. The first bytes are kept on disk; the newest are in memory, in one copy for
 * all who read. Who writes more than is kept is held back by those who read it live.
 */
export class Recording {
  readonly #options: RecordingOptions;
  readonly #name: string;
  readonly #readers = new Set<LiveReader>();
  /** Writers that wait for a reader to read on, or for the disk. */
  readonly #held = new Set<() => void>();
  /** The newest, without holes, up to `total`. */
  #window: Piece[] = [];
  #windowBytes = 0;
  #total: number;
  /** What is kept ends here once something was not kept. */
  #cutAt: number | undefined;
  #submittedTo: number;
  #flushedTo: number;
  #runs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: RecordingOptions) {
    this.#options = options;
    this.#name = recordingName(options.taskId, options.kind);
    this.#total = options.total;
    this.#submittedTo = options.kept;
    this.#flushedTo = options.kept;
    if (options.total > options.kept) this.#cutAt = options.kept;
  }

  /** How many bytes have come in all. */
  get total(): number {
    return this.#total;
  }

  /** How many of the first bytes are kept. */
  get kept(): number {
    return this.#cutAt ?? this.#total;
  }

  /** Whether something of it waits for the disk. */
  get isUnsaved(): boolean {
    return this.#flushedTo < this.kept;
  }

  /** Whether its writer has to wait for `room()` before the next piece. */
  get isFull(): boolean {
    return this.#windowBytes > windowBytes;
  }

  /** Adds what has come. */
  append(piece: NewPiece): void {
    for (const part of partsOf(piece)) this.#append(part);
    this.#keep();
  }

  /** Whether a piece is the first that would not be kept, or not all of it. */
  isCutBy(piece: NewPiece): boolean {
    if (this.#cutAt !== undefined) return false;
    let before: NewPiece | undefined = this.#window.at(-1);
    let runs = this.#runs;
    let total = this.#total;
    for (const part of partsOf(piece)) {
      if (!isSameRun(before, part)) runs += 1;
      total += sizeOf(part);
      before = part;
    }
    return total + runs * runBytes > this.#options.maxBytes;
  }

  /** Resolves when its writer may go on, or the signal aborts. */
  async room(signal: AbortSignal): Promise<void> {
    const { unread } = this.#options;
    const bell = new Bell();
    this.#held.add(bell.ring);
    signal.addEventListener("abort", bell.ring);
    const until = unread === "waits" ? Number.POSITIVE_INFINITY : performance.now() + unread.patienceMs;
    try {
      while (!signal.aborted && this.isFull) {
        const leftMs = until - performance.now();
        // The disk is waited for in any case.
        if (this.#isBehindDisk() || leftMs === Number.POSITIVE_INFINITY) await bell.wait();
        else if (leftMs > 0) await bell.wait(leftMs);
        else this.#passOver();
      }
    } finally {
      this.#held.delete(bell.ring);
      signal.removeEventListener("abort", bell.ring);
    }
  }

  /** Begins to read at a byte; what is kept no more is skipped, and told. */
  reader(offset: number): RecordingReader {
    const reader: LiveReader = {
      offset,
      isPassedOver: false,
      read: () => this.#read(reader),
      [Symbol.dispose]: () => {
        this.#readers.delete(reader);
        this.#trim();
        this.#goOn();
      },
    };
    this.#readers.add(reader);
    return reader;
  }

  /** Brings to the disk what is to be kept of all that has come so far. Rejects when the disk refuses it. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const upTo = this.kept;
    if (this.#submittedTo >= upTo) return;
    const from = this.#submittedTo;
    const rows = rowsOf(
      this.#name,
      this.#window.filter((piece) => piece.offset >= from && piece.offset < upTo),
    );
    this.#submittedTo = upTo;
    try {
      await this.#options.store.change({}, () =>
        changed(
          undefined,
          rows.map((row) => put(recordingTable, row)),
        ),
      );
    } catch (error) {
      this.#submittedTo = Math.min(this.#submittedTo, from);
      throw error;
    }
    this.#flushedTo = Math.max(this.#flushedTo, upTo);
    this.#trim();
    this.#goOn();
  }

  #append(piece: NewPiece): void {
    const size = sizeOf(piece);
    this.#window.push({ ...piece, offset: this.#total, size });
    this.#windowBytes += size + pieceBytes;
    // Many small pieces of one kind become one on the disk; each change of kind counts for something.
    if (!isSameRun(this.#window.at(-2), piece)) this.#runs += 1;
    const cost = this.#total + size + this.#runs * runBytes;
    if (this.#cutAt === undefined && cost > this.#options.maxBytes) {
      this.#cutAt = this.#total;
      this.#options.onCut(this.#total);
    }
    this.#total += size;
  }

  #keep(): void {
    const waiting = this.kept - this.#submittedTo;
    if (waiting >= flushBytes) this.#flushSoon(0);
    else if (waiting > 0) this.#flushSoon(flushAfterMs);
    this.#trim();
  }

  #flushSoon(ms: number): void {
    if (ms === 0) void this.#flushOrRetry();
    else this.#timer ??= setTimeout(() => void this.#flushOrRetry(), ms);
  }

  async #flushOrRetry(): Promise<void> {
    try {
      await this.flush();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // A store that is closed takes nothing any more.
      if (error.details.reason !== "SHUTTING_DOWN") this.#flushSoon(retryMs);
    }
  }

  #goOn(): void {
    for (const wake of this.#held) wake();
  }

  #isBehindDisk(): boolean {
    return (this.#window[0]?.offset ?? this.#total) < this.kept && this.isUnsaved;
  }

  /** Lets go of what nobody needs here any more: what the disk has, and what is not kept and was read by all. */
  #trim(): void {
    const { all, waitedFor } = this.#leastOffsets();
    let first = 0;
    while (first < this.#window.length) {
      const piece = this.#window[first];
      if (piece === undefined) break;
      const end = piece.offset + piece.size;
      const isOnDisk = end <= this.#flushedTo;
      const isKept = piece.offset < this.kept;
      if (isKept ? !isOnDisk : waitedFor < end) break;
      if (this.#windowBytes <= windowBytes / 2 && all < end) break;
      if (!isKept && this.#options.unread === "waits" && this.#readers.size === 0) break;
      this.#windowBytes -= piece.size + pieceBytes;
      first += 1;
    }
    if (first > 0) this.#window = this.#window.slice(first);
  }

  /** Goes on without those who don't read. They are not waited for again until they have caught up. */
  #passOver(): void {
    while (this.#windowBytes > windowBytes / 2) {
      const piece = this.#window.shift();
      if (piece === undefined) break;
      this.#windowBytes -= piece.size + pieceBytes;
    }
    const start = this.#window[0]?.offset ?? this.#total;
    for (const reader of this.#readers) if (reader.offset < start) reader.isPassedOver = true;
  }

  /** The next bytes of the last of all readers, and of the last of those that are waited for. */
  #leastOffsets(): { readonly all: number; readonly waitedFor: number } {
    let all = this.#total;
    let waitedFor = this.#total;
    for (const { offset, isPassedOver } of this.#readers) {
      all = Math.min(all, offset);
      if (!isPassedOver) waitedFor = Math.min(waitedFor, offset);
    }
    return { all, waitedFor };
  }

  async #read(reader: LiveReader): Promise<Recorded | undefined> {
    const from = reader.offset;
    if (from >= this.#total) {
      reader.isPassedOver = false;
      return undefined;
    }
    const windowStart = this.#window[0]?.offset ?? this.#total;
    const pieces = from >= windowStart ? this.#fromWindow(from) : await this.#fromDisk(from);
    if (pieces.length > 0) return this.#readOn(reader, { pieces, missing: missingBefore(pieces, from) });
    // Neither here nor there: it goes on with what is here.
    const rest = this.#fromWindow(this.#window[0]?.offset ?? this.#total);
    const missing = (rest[0]?.offset ?? this.#total) - from;
    return this.#readOn(reader, { pieces: rest, missing }, this.#total);
  }

  #readOn(reader: LiveReader, recorded: Recorded, otherwise = reader.offset): Recorded {
    const last = recorded.pieces.at(-1);
    reader.offset = last === undefined ? otherwise : last.offset + last.size;
    this.#trim();
    this.#goOn();
    return recorded;
  }

  #fromWindow(from: number): readonly Piece[] {
    let low = 0;
    let high = this.#window.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const piece = this.#window[middle];
      if (piece !== undefined && piece.offset + piece.size <= from) low = middle + 1;
      else high = middle;
    }
    return cutBefore(this.#window.slice(low, low + mostPieces), from);
  }

  async #fromDisk(from: number): Promise<readonly Piece[]> {
    const { rows } = await this.#options.store.list(recordingTable, {
      where: { recording: this.#name, startsAt: { lte: from } },
      orderBy: "startsAt",
      descending: true,
      limit: 1,
    });
    const row: RecordedRow | undefined = rows[0];
    if (row === undefined) return [];
    return cutBefore(
      partsIn(row).filter((piece) => piece.offset + piece.size > from),
      from,
    );
  }
}

interface LiveReader extends Disposable {
  offset: number;
  /** Whether the writer has waited for it in vain, and it has not caught up since. */
  isPassedOver: boolean;
  read(): Promise<Recorded | undefined>;
}

/** What a piece takes in memory besides its bytes, and what a change of kind counts for on the disk; bytes. */
const pieceBytes = 128;
const runBytes = 64;
/** How many pieces are read at once. */
const mostPieces = 64;
/** A frame that holds more than this is recorded in several pieces; bytes, and UTF-16 units of text. */
const largestPiece = 1024 * 1024;

function partsOf(piece: NewPiece): readonly NewPiece[] {
  if (piece.data.byteLength <= largestPiece && piece.text.length <= largestPiece) return [piece];
  const parts: NewPiece[] = [];
  const nothing = new Uint8Array(0);
  for (let at = 0; at < piece.data.byteLength; at += largestPiece)
    parts.push({ ...piece, text: "", data: piece.data.subarray(at, at + largestPiece), isLast: false });
  for (let at = 0; at < piece.text.length; ) {
    let end = Math.min(piece.text.length, at + largestPiece);
    // Not between the two halves of a character.
    if (end < piece.text.length && (piece.text.charCodeAt(end) & 0xfc00) === 0xdc00) end -= 1;
    parts.push({ ...piece, data: nothing, text: piece.text.slice(at, end), isLast: false });
    at = end;
  }
  const last = parts.at(-1);
  return last === undefined ? [piece] : [...parts.slice(0, -1), { ...last, isLast: piece.isLast }];
}

/** Bytes. What says something without a byte counts for one, so that it has a place of its own. */
function sizeOf({ data, text }: NewPiece): number {
  return Math.max(1, data.byteLength + (text === "" ? 0 : Buffer.byteLength(text)));
}

function isSameRun(before: NewPiece | undefined, piece: NewPiece): boolean {
  return (
    before !== undefined &&
    before.stream === piece.stream &&
    before.attempt === piece.attempt &&
    (before.text === "") === (piece.text === "") &&
    (before.data.byteLength === 0) === (piece.data.byteLength === 0)
  );
}

/** Pieces without what comes before a byte: on the disk pieces are larger than they came. */
function cutBefore(pieces: readonly Piece[], from: number): readonly Piece[] {
  const [first, ...rest] = pieces;
  if (first === undefined || first.offset >= from) return pieces;
  if (first.text === "") {
    const data = first.data.subarray(from - first.offset);
    return [{ ...first, data, offset: from, size: first.size - (from - first.offset) }, ...rest];
  }
  if (first.data.byteLength > 0) return pieces; // it came in one frame, and is given in one
  const bytes = Buffer.from(first.text);
  let at = from - first.offset;
  while (at > 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at -= 1; // to where a character begins
  return [
    { ...first, text: bytes.subarray(at).toString(), offset: first.offset + at, size: first.size - at },
    ...rest,
  ];
}

function missingBefore(pieces: readonly Piece[], from: number): number {
  return Math.max(0, (pieces[0]?.offset ?? from) - from);
}
