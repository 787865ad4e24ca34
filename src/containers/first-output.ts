import { setTimeout as delay } from "node:timers/promises";
import type { Background } from "../background.ts";
import { abortFailure, Failure } from "../failure.ts";
import { outputLost, withRestOfLog } from "../rest-of-log.ts";
import type { LogOptions, OutputChunk } from "../runtime/runtime.ts";
import type { ContainerId } from "./container.ts";

/** How much is kept for a reader that has not come or is slow, in bytes: past it, no more is read from the container. */
const maxHeldBytes = 64 * 1024;

export interface Patience {
  /** How long it is kept for somebody to come, and for a reader to take the next of it once it is full, in milliseconds. */
  readonly keptMs: number;
  /** How long it is kept for somebody to come once it is full, in milliseconds: the container waits meanwhile. */
  readonly fullMs: number;
}

const patience: Patience = { keptMs: 5_000, fullMs: 1_000 };

/** A container's output from its first byte on, as it comes from the engine. */
export interface Attached {
  readonly output: AsyncIterable<OutputChunk>;
  /** Lets go of it. */
  readonly end: () => void;
}

/**
 * The first output of new containers, for whoever asks for it at once. An engine gives the log of a command that has
 * just ended only when it has cleaned up behind it, and holds back a line that has no end yet; what is attached before
 * the start has neither wait, and is whole where the engine's log has dropped what was not read in time. Without a reader
 * it is given up soon, and a reader who takes nothing for a while is moved to the log as long as that has all he has had:
 * only behind that does the container wait for him.
 */
export class FirstOutputs {
  readonly #background: Background;
  readonly #held = new Map<ContainerId, Held>();
  readonly #loggedBytes: number;
  readonly #patience: Patience;

  /** @param logBytes how much of its output the engine keeps, in bytes */
  constructor(
    background: Background,
    options: { readonly logBytes: number; readonly patience?: Patience | undefined },
  ) {
    this.#background = background;
    this.#patience = options.patience ?? patience;
    // Far from where the engine begins to drop what is old, so that its log begins where the container did.
    this.#loggedBytes = Math.floor(options.logBytes / 4);
  }

  keep(id: ContainerId, attached: Attached): void {
    const onEnd = () => this.#held.delete(id);
    const held = new Held(attached, { loggedBytes: this.#loggedBytes, patience: this.#patience, onEnd });
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

interface HeldOptions {
  /** So much of the output, from its beginning, is surely in the engine's log, in bytes. */
  readonly loggedBytes: number;
  readonly patience: Patience;
  readonly onEnd: () => void;
}

class Held {
  readonly #attached: Attached;
  readonly #options: HeldOptions;
  #chunks: OutputChunk[] = [];
  #bytes = 0;
  #givenBytes = 0;
  #hasReader = false;
  /** Whether it is still what the container writes; if not, why not. What is passed over is read and only counted. */
  #source: "live" | "complete" | "passed over" | "given up" = "live";
  /** All that the container has written. */
  readonly #written = { stdout: 0, stderr: 0 };
  readonly #read = Promise.withResolvers<"to its end" | "in part">();
  #wake = ignore;
  #onRoom = ignore;
  #timer: Timer;

  constructor(attached: Attached, options: HeldOptions) {
    this.#attached = attached;
    this.#options = options;
    this.#timer = setTimeout(() => this.#giveUp(), options.patience.keptMs);
  }

  /** Reads until the container ends, or nobody wants it. */
  async fill(signal: AbortSignal): Promise<void> {
    const giveUp = () => this.#giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      for await (const chunk of this.#attached.output) {
        if (this.#source === "given up") return;
        this.#written[chunk.stream] += chunk.data.length;
        if (this.#source === "passed over") continue;
        this.#chunks.push(chunk);
        this.#bytes += chunk.data.length;
        this.#wake();
        if (this.#bytes > maxHeldBytes) await this.#room();
      }
      if (this.#source === "live") this.#source = "complete";
      if (this.#source !== "given up") this.#read.resolve("to its end");
    } catch (error) {
      // Whatever has cut it, the engine's log is there.
      this.#giveUp();
      if (!(error instanceof Failure)) throw error;
    } finally {
      signal.removeEventListener("abort", giveUp);
      this.#read.resolve("in part");
      this.#wake();
    }
  }

  async *read({ log, signal }: Reading): AsyncGenerator<OutputChunk> {
    const doing = "give the container's output";
    const rest = () => (this.#source === "complete" ? nothing() : log());
    const given = { stdout: 0, stderr: 0 };
    clearTimeout(this.#timer);
    this.#hasReader = true;
    try {
      const options = { doing, isFromStart: true, otherwise: "fail" } as const;
      for await (const chunk of withRestOfLog(this.#live(signal), rest, options)) {
        given[chunk.stream] += chunk.data.length;
        yield chunk;
      }
      // Bytes that are the same all over tell the log nothing when it has dropped some; their number does.
      if ((await this.#readToItsEnd(signal)) && !Bun.deepEquals(given, this.#written))
        throw outputLost(doing);
    } finally {
      this.#giveUp();
    }
  }

  /** Whether all that the container wrote was counted. It ends with the container's log, or soon. */
  async #readToItsEnd(signal: AbortSignal): Promise<boolean> {
    if (this.#source === "given up") return false;
    const done = new AbortController();
    const late = delay(this.#options.patience.keptMs, "in part" as const, {
      signal: AbortSignal.any([signal, done.signal]),
    }).catch(() => "in part" as const);
    const read = await Promise.race([this.#read.promise, late]);
    done.abort();
    return read === "to its end";
  }

  async *#live(signal: AbortSignal): AsyncGenerator<OutputChunk> {
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        if (signal.aborted) throw abortFailure(signal);
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#bytes -= chunk.data.length;
          this.#givenBytes += chunk.data.length;
          if (this.#bytes <= maxHeldBytes) this.#onRoom();
          yield chunk;
        } else if (this.#source === "live") {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        } else {
          return;
        }
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Waits until there is room for more, or it is given up. */
  async #room(): Promise<void> {
    const { loggedBytes, patience } = this.#options;
    if (this.#givenBytes + this.#bytes < loggedBytes) {
      // The engine's log has it all still, and the container need not wait for long.
      clearTimeout(this.#timer);
      this.#timer = this.#hasReader
        ? setTimeout(() => this.#passOver(), patience.keptMs)
        : setTimeout(() => this.#giveUp(), patience.fullMs);
    }
    await new Promise<void>((resolve) => {
      this.#onRoom = resolve;
    });
    clearTimeout(this.#timer);
  }

  #passOver(): void {
    if (this.#source === "live") this.#source = "passed over";
    this.#wake();
    this.#onRoom();
  }

  #giveUp(): void {
    clearTimeout(this.#timer);
    if (this.#source !== "complete") this.#source = "given up";
    this.#options.onEnd();
    this.#attached.end();
    this.#wake();
    this.#onRoom();
  }
}

async function* nothing(): AsyncGenerator<OutputChunk> {}

function ignore(): void {}
