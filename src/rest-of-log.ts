import { Failure } from "./failure.ts";

/** How much of what was given last is looked for in a log that has dropped its beginning, in bytes of each stream. */
const MARK_BYTES = 64 * 1024;
/** How far from the log's end it is looked for, in bytes of each stream. */
const SEARCHED_BYTES = 1024 * 1024;

/** A piece of output, and when it was written in milliseconds since 1970, where that is known. */
export interface OutputPiece {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
  readonly at?: number;
}

export interface RestOptions {
  /** Names what can't be done in the Failure. */
  readonly doing: string;
  /** Whether what was given begins where the log did when it was whole. */
  readonly isFromStart: boolean;
  /** What to do with a log that has dropped its beginning: find the place by what was given last, once the log has ended. */
  readonly otherwise: "search" | "fail";
}

/**
 * All of `given`, and then what `log` has behind it: byte for byte, for stdout and stderr each. `log` begins with what was
 * given, or has dropped some of that. Failures: DATA_LOSS when what comes behind is not to be found in it.
 */
export async function* withRestOfLog(
  given: AsyncIterable<OutputPiece>,
  log: () => AsyncIterable<OutputPiece>,
  options: RestOptions,
): AsyncGenerator<OutputPiece> {
  const parts = { stdout: new Given(), stderr: new Given() };
  for await (const chunk of given) {
    parts[chunk.stream].add(chunk.data);
    yield chunk;
  }
  const rests = { stdout: new Rest(parts.stdout, options), stderr: new Rest(parts.stderr, options) };
  for await (const chunk of log()) {
    const rest = rests[chunk.stream].add(chunk);
    if (rest !== undefined) yield rest;
  }
  yield* rests.stdout.end();
  yield* rests.stderr.end();
}

/** DATA_LOSS: what the engine has dropped before it was read is gone. */
export function outputLost(doing: string): Failure {
  const why = "the engine has, or may have, dropped some of it before it was read (runtime.max-log-bytes)";
  return new Failure("data_loss", `Cannot ${doing} to its end: ${why}`, { reason: "OUTPUT_LOST" });
}

/** What was given of one stream: how much, which bytes, and the last of them. */
class Given {
  bytes = 0;
  readonly #hash = newHash();
  #last: Uint8Array[] = [];
  #lastBytes = 0;

  add(data: Uint8Array): void {
    this.bytes += data.length;
    this.#hash.update(data);
    this.#last.push(data);
    this.#lastBytes += data.length;
    for (let [first] = this.#last; first !== undefined; [first] = this.#last) {
      if (this.#lastBytes - first.length < MARK_BYTES) break;
      this.#lastBytes -= first.length;
      this.#last.shift();
    }
  }

  mark(): Buffer {
    return Buffer.concat(this.#last).subarray(-MARK_BYTES);
  }

  digest(): string {
    return this.#hash.digest("hex");
  }
}

/** What a log has of one stream behind what was given of it. */
class Rest {
  readonly #given: Given;
  readonly #options: RestOptions;
  #hash = newHash();
  #bytes = 0;
  #state: "at what was given" | "behind it" | "dropped its beginning" | "nothing to go by";
  #last: OutputPiece[] = [];
  #lastBytes = 0;

  constructor(given: Given, options: RestOptions) {
    this.#given = given;
    this.#options = options;
    if (options.isFromStart) this.#state = given.bytes === 0 ? "behind it" : "at what was given";
    else this.#state = given.bytes === 0 ? "nothing to go by" : "dropped its beginning";
  }

  /** What of the chunk is known to be behind what was given. */
  add(chunk: OutputPiece): OutputPiece | undefined {
    if (this.#state === "behind it") return chunk;
    if (this.#state === "nothing to go by") return undefined;
    const known = Math.min(this.#given.bytes - this.#bytes, chunk.data.length);
    this.#bytes += chunk.data.length;
    if (this.#state === "at what was given") {
      this.#hash.update(chunk.data.subarray(0, known));
      if (this.#bytes >= this.#given.bytes && this.#compare()) {
        this.#last = [];
        return known < chunk.data.length ? { ...chunk, data: chunk.data.subarray(known) } : undefined;
      }
    }
    this.#keep(chunk);
    return undefined;
  }

  *end(): Generator<OutputPiece> {
    if (this.#state === "behind it" || this.#state === "nothing to go by" || this.#bytes === 0) return;
    if (this.#options.otherwise === "fail") throw this.#lost();
    let passed = this.#searched();
    for (const chunk of this.#last) {
      if (passed < chunk.data.length) yield { ...chunk, data: chunk.data.subarray(passed) };
      passed = Math.max(0, passed - chunk.data.length);
    }
  }

  #compare(): boolean {
    const isSame = this.#hash.digest("hex") === this.#given.digest();
    this.#state = isSame ? "behind it" : "dropped its beginning";
    if (!isSame && this.#options.otherwise === "fail") throw this.#lost();
    return isSame;
  }

  #keep(chunk: OutputPiece): void {
    this.#last.push(chunk);
    this.#lastBytes += chunk.data.length;
    for (let [first] = this.#last; first !== undefined; [first] = this.#last) {
      if (this.#lastBytes - first.data.length < SEARCHED_BYTES) break;
      this.#lastBytes -= first.data.length;
      this.#last.shift();
    }
  }

  /** How many of the bytes that were kept were given. */
  #searched(): number {
    const kept = Buffer.concat(this.#last.map(({ data }) => data));
    const mark = this.#given.mark();
    const at = kept.lastIndexOf(mark);
    if (at < 0) return this.#overlap(mark, kept);
    if (this.#options.isFromStart) {
      // The same again and again: nobody can tell how much of it was given.
      if (kept.indexOf(mark) !== at) throw this.#lost();
      // A log that has dropped something is shorter than what was given.
      const end = this.#bytes - kept.length + at + mark.length;
      if (end > this.#given.bytes) throw this.#lost();
    }
    return at + mark.length;
  }

  /** Of a log so short that it begins within the mark: how many bytes the two have in common. */
  #overlap(mark: Buffer, kept: Buffer): number {
    const isAll = kept.length === this.#bytes;
    for (let common = isAll ? Math.min(mark.length, kept.length) : 0; common > 0; common--) {
      if (mark.subarray(-common).equals(kept.subarray(0, common))) return common;
    }
    throw this.#lost();
  }

  #lost(): Failure {
    return outputLost(this.#options.doing);
  }
}

function newHash(): Bun.CryptoHasher {
  return new Bun.CryptoHasher("sha1");
}
