import type { Background } from "../background.ts";
import { abortFailure, Failure } from "../failure.ts";
import type { LogOptions, OutputChunk } from "../runtime/runtime.ts";
import type { ContainerId } from "./container.ts";

/** How much is kept for a reader that has not come or is slow, in bytes: past it, it reads the engine's log. */
const maxHeldBytes = 64 * 1024;
/** How much is handed on before a reader is moved to the engine's log, in bytes: the log has it all still. */
const maxLiveBytes = 256 * 1024;
/** How long it is kept for somebody to come, in milliseconds. */
const keptMs = 5_000;

/** A container's output from its first byte on, as it comes from the engine. */
export interface Attached {
  readonly output: AsyncIterable<OutputChunk>;
  /** Lets go of it. */
  readonly end: () => void;
}

/**
 * The first output of new containers, for whoever asks for it at once. An engine gives the log of a command that has
 * just ended only when it has cleaned up behind it, and holds back a line that has no end yet; what is attached before
 * the start has neither wait. It is always read, so that no container waits for a reader, and soon given up.
 */
export class FirstOutputs {
  readonly #background: Background;
  readonly #held = new Map<ContainerId, Held>();
  readonly #maxLiveBytes: number;

  /** @param logBytes how much of its output the engine keeps, in bytes */
  constructor(background: Background, options: { readonly logBytes: number }) {
    this.#background = background;
    // Far from where the engine begins to drop what is old, so that its log begins where the container did.
    this.#maxLiveBytes = Math.min(maxLiveBytes, Math.floor(options.logBytes / 4));
  }

  keep(id: ContainerId, attached: Attached): void {
    const held = new Held(attached, { maxLiveBytes: this.#maxLiveBytes, onEnd: () => this.#held.delete(id) });
    this.#held.set(id, held);
    this.#background.start("read the first output of a container", (signal) => held.fill(signal));
  }

  /**
   * All output of a container that was kept from its start, and then what `log` gives of it behind that; undefined when
   * it was not kept or somebody else has it, or when the options want another part of it.
   */
  take(id: ContainerId, options: LogOptions, reading: Reading): AsyncIterable<OutputChunk> | undefined {
    const { follow, timestamps, stdout, stderr, tail, since, until } = options;
    const isWhole = tail === undefined && since === undefined && until === undefined;
    if (!follow || timestamps || !stdout || !stderr || !isWhole) return undefined;
    const held = this.#held.get(id);
    this.#held.delete(id);
    return held?.read(reading);
  }
}

interface Reading {
  /** The engine's log of the container, from its beginning. */
  readonly log: () => AsyncIterable<OutputChunk>;
  readonly signal: AbortSignal;
}

class Held {
  readonly #attached: Attached;
  readonly #maxLiveBytes: number;
  readonly #onEnd: () => void;
  #chunks: OutputChunk[] = [];
  #bytes = 0;
  /** Whether it is still what the container writes; if not, why not. */
  #source: "live" | "complete" | "given up" = "live";
  #wake = ignore;
  readonly #timer: Timer;

  constructor(attached: Attached, options: { readonly maxLiveBytes: number; readonly onEnd: () => void }) {
    this.#attached = attached;
    this.#maxLiveBytes = options.maxLiveBytes;
    this.#onEnd = options.onEnd;
    this.#timer = setTimeout(() => this.#giveUp(), keptMs);
  }

  /** Reads until the container ends, or nobody wants it. */
  async fill(signal: AbortSignal): Promise<void> {
    const giveUp = () => this.#giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      for await (const chunk of this.#attached.output) {
        if (this.#source !== "live") return;
        this.#chunks.push(chunk);
        this.#bytes += chunk.data.length;
        this.#wake();
        if (this.#bytes > maxHeldBytes) return this.#giveUp();
      }
      if (this.#source === "live") this.#source = "complete";
    } catch (error) {
      // Whatever has cut it, the engine's log is there.
      this.#giveUp();
      if (!(error instanceof Failure)) throw error;
    } finally {
      signal.removeEventListener("abort", giveUp);
      this.#wake();
    }
  }

  async *read({ log, signal }: Reading): AsyncGenerator<OutputChunk> {
    clearTimeout(this.#timer);
    const given = { stdout: 0, stderr: 0 };
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort);
    try {
      while (given.stdout + given.stderr < this.#maxLiveBytes) {
        if (signal.aborted) throw abortFailure(signal);
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#bytes -= chunk.data.length;
          yield chunk;
          given[chunk.stream] += chunk.data.length;
        } else if (this.#source === "live") {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        } else {
          break;
        }
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#giveUp();
    }
    if (this.#source !== "complete" || this.#chunks.length > 0) yield* behind(log(), given);
  }

  #giveUp(): void {
    clearTimeout(this.#timer);
    if (this.#source === "live") this.#source = "given up";
    this.#onEnd();
    this.#attached.end();
    this.#wake();
  }
}

/** What a log has behind so many bytes of each stream. */
async function* behind(
  log: AsyncIterable<OutputChunk>,
  given: { stdout: number; stderr: number },
): AsyncGenerator<OutputChunk> {
  const left = { ...given };
  for await (const { stream, data } of log) {
    const skipped = Math.min(left[stream], data.length);
    left[stream] -= skipped;
    if (skipped < data.length) yield { stream, data: data.subarray(skipped) };
  }
}

function ignore(): void {}
