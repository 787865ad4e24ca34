/** A piece of a command's output: bytes that came one after the other on one of its two outputs. */
export interface Piece {
  readonly stream: "stdout" | "stderr";
  /** Of its first byte, in all that the command has written. */
  readonly offset: number;
  readonly data: Uint8Array;
}

/** What all rings together may take, in bytes. */
export interface RingRoom {
  /** Takes so many bytes more, and says whether it did. */
  take(bytes: number, when: "if_free" | "in_any_case"): boolean;
  give(bytes: number): void;
}

/** A ring's first size, in bytes, which it gets whatever the others take. */
export const smallestRing = 4_096;
const growth = 4;
/** What a change from one output to the other counts for at least, in bytes: so many changes are remembered, and no more. */
const bytesPerRun = 64;
/** The most that is read at once, in bytes. */
const maxPiece = 64 * 1_024;

/** The newest output of one command, up to a number of bytes. It takes memory as it fills. */
export class ExecRing {
  readonly #maxBytes: number;
  readonly #room: RingRoom;
  /** A byte of offset `n` is at `n` modulo the length. */
  #bytes = new Uint8Array(0);
  /** Where each stretch of one output begins; those before `#first` are dropped. */
  #runs: { readonly stream: Piece["stream"]; readonly start: number }[] = [];
  #first = 0;
  #oldest = 0;
  #total = 0;

  constructor(maxBytes: number, room: RingRoom) {
    this.#maxBytes = maxBytes;
    this.#room = room;
  }

  /** The offset of the oldest byte that is kept; `total` when none is. */
  get oldest(): number {
    return this.#oldest;
  }

  /** How many bytes have been appended in all. */
  get total(): number {
    return this.#total;
  }

  /** How much it can keep, once it has grown for so many bytes more as far as it may. */
  capacityFor(bytes: number): number {
    while (this.#total - this.#oldest + bytes > this.#bytes.length && this.#grow());
    return this.#bytes.length;
  }

  /** Which byte would be the oldest if so many were appended now. */
  oldestAfter(bytes: number): number {
    return Math.max(this.#oldest, this.#total + bytes - this.capacityFor(bytes));
  }

  append(stream: Piece["stream"], data: Uint8Array): void {
    if (data.length === 0) return;
    this.#oldest = this.oldestAfter(data.length);
    if (this.#runs.at(-1)?.stream !== stream) this.#runs.push({ stream, start: this.#total });
    const size = this.#bytes.length;
    const kept = data.subarray(Math.max(0, data.length - size));
    const at = (this.#total + data.length - kept.length) % size;
    this.#bytes.set(kept.subarray(0, size - at), at);
    this.#bytes.set(kept.subarray(size - at), 0);
    this.#total += data.length;
    this.#dropRuns();
  }

  /** What stands at `offset`, which must be kept: at most 64 KiB of one output, copied. Undefined at the end. */
  read(offset: number): Piece | undefined {
    if (offset >= this.#total) return undefined;
    const index = this.#runAt(offset);
    const run = this.#runs[index];
    if (run === undefined || offset < this.#oldest) throw new Error(`the ring does not have byte ${offset}`);
    const end = Math.min(this.#runs[index + 1]?.start ?? this.#total, offset + maxPiece);
    const data = new Uint8Array(end - offset);
    const at = offset % this.#bytes.length;
    const head = this.#bytes.subarray(at, at + data.length);
    data.set(head, 0);
    data.set(this.#bytes.subarray(0, data.length - head.length), head.length);
    return { stream: run.stream, offset, data };
  }

  /** Gives its memory back; nothing is kept any more. */
  clear(): void {
    this.#room.give(this.#bytes.length);
    this.#bytes = new Uint8Array(0);
    this.#runs = [];
    this.#first = 0;
    this.#oldest = this.#total;
  }

  get #mostRuns(): number {
    return Math.max(1, Math.floor(this.#bytes.length / bytesPerRun));
  }

  #grow(): boolean {
    const before = this.#bytes;
    if (before.length >= this.#maxBytes) return false;
    const size = Math.min(before.length === 0 ? smallestRing : before.length * growth, this.#maxBytes);
    const more = size - before.length;
    if (!this.#room.take(more, before.length === 0 ? "in_any_case" : "if_free")) return false;
    const bytes = new Uint8Array(size);
    for (let at = this.#oldest; at < this.#total; ) {
      const from = at % before.length;
      const to = at % size;
      const length = Math.min(this.#total - at, before.length - from, size - to);
      bytes.set(before.subarray(from, from + length), to);
      at += length;
    }
    this.#bytes = bytes;
    return true;
  }

  /** Of those that are kept, the last one that does not begin behind `offset`. */
  #runAt(offset: number): number {
    let low = this.#first;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#runs[middle]?.start ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #dropRuns(): void {
    while (this.#runs.length - this.#first > this.#mostRuns && this.#grow());
    for (;;) {
      const next = this.#runs[this.#first + 1];
      if (next === undefined) break;
      const tooMany = this.#runs.length - this.#first > this.#mostRuns;
      if (next.start > this.#oldest && !tooMany) break;
      this.#first += 1;
      this.#oldest = Math.max(this.#oldest, next.start);
    }
    // Moved together now and then, so that the list stays as short as what it holds.
    if (this.#first < 1_024 || this.#first * 2 < this.#runs.length) return;
    this.#runs = this.#runs.slice(this.#first);
    this.#first = 0;
  }
}

/** The rings of all commands, which share one bound. Those of commands that have ended longest make room first. */
export class ExecRings {
  readonly #limits: { readonly maxBytes: number; readonly totalBytes: number };
  /** In the order in which their commands ended. */
  readonly #ended = new Set<ExecRing>();
  #taken = 0;

  /** @param limits of one ring, and of all of them together, in bytes */
  constructor(limits: { readonly maxBytes: number; readonly totalBytes: number }) {
    this.#limits = limits;
  }

  /** What all of them take, in bytes. */
  get taken(): number {
    return this.#taken;
  }

  open(): ExecRing {
    return new ExecRing(this.#limits.maxBytes, { take: this.#take, give: this.#give });
  }

  /** Its command has ended: from now on others may have its memory. */
  ended(ring: ExecRing): void {
    this.#ended.add(ring);
  }

  drop(ring: ExecRing): void {
    this.#ended.delete(ring);
    ring.clear();
  }

  readonly #take: RingRoom["take"] = (bytes, when) => {
    for (const ring of this.#ended) {
      if (this.#taken + bytes <= this.#limits.totalBytes) break;
      this.drop(ring);
    }
    if (when === "if_free" && this.#taken + bytes > this.#limits.totalBytes) return false;
    this.#taken += bytes;
    return true;
  };

  readonly #give = (bytes: number): void => {
    this.#taken -= bytes;
  };
}
