import { abortFailure, Failure } from "../../failure.ts";
import type { Exec, ExecSpec } from "../runtime.ts";
import {
  FrameReader,
  frame,
  KIND,
  MAX_FRAME_BYTES,
  PROTOCOL,
  startBody,
  type Words,
  wordsBody,
} from "./frames.ts";
import { InitExec, OUTPUT_WINDOW_BYTES } from "./init-exec.ts";

/** What the init is to the engine: a command that it runs in a container, with stdin. */
export type RunInit = (signal: AbortSignal) => Promise<Exec>;

/**
 * A connection to the init in one container, over stdin and stdout of an exec of the engine. Commands that it runs share
 * it; none can hold up another, since each has its own window of bytes. What runs in the container may try to speak in
 * the init's place: what is no frame, or more than was granted, ends the connection.
 */
export class InitLink implements AsyncDisposable {
  readonly #exec: Exec;
  readonly #running = new Map<number, InitExec>();
  readonly #closing = new AbortController();
  readonly #greeted = Promise.withResolvers<void>();
  readonly #reading: Promise<void>;
  #claiming: PromiseWithResolvers<number> | undefined;
  /** Hears that the command of the claim has ended, and that its container waits to be let go. */
  #onEnding: ((letGo: () => void) => void) | undefined;
  /** Whether the command of the claim has begun unless the init says otherwise. */
  #hasBegun = false;
  #nextId = 1;
  #closed: string | undefined;

  private constructor(exec: Exec) {
    this.#exec = exec;
    this.#greeted.promise.catch(() => {}); // told to whoever opens it
    this.#reading = this.#read();
  }

  /** Fails as `run` does, and UNAVAILABLE when what answers is not our init. The signal bounds the opening. */
  static async open(run: RunInit, signal: AbortSignal): Promise<InitLink> {
    const living = new AbortController();
    const giveUp = () => living.abort(signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      const link = new InitLink(await run(living.signal));
      await link.#greeted.promise;
      return link;
    } catch (error) {
      living.abort();
      throw signal.aborted ? abortFailure(signal) : error;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  /** Resolves when it is of no use any more: its container has ended, its engine is gone, or it was disposed. */
  get ended(): Promise<void> {
    return this.#reading;
  }

  /**
   * Runs a command; `undefined` when the init can't and has not, for whatever reason: the engine's own way tells why.
   *
   * Failures: as InitExec.started. A command that may have begun is not tried another way: it would run twice.
   */
  async start(spec: ExecSpec, signal: AbortSignal): Promise<Exec | undefined> {
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) % 2 ** 32 || 1; // 0 is the link's own
    const body = startBody(spec, { ...spec, size: spec.size, credit: OUTPUT_WINDOW_BYTES });
    if (body.length > MAX_FRAME_BYTES || !this.isOpen) return undefined;
    const exec = new InitExec({ id, spec, signal, send: (kind, bytes) => this.#send(id, kind, bytes) });
    this.#running.set(id, exec);
    this.#send(id, KIND.start, body);
    try {
      if (await exec.started(signal)) return exec;
      this.#running.delete(id);
      return undefined;
    } catch (error) {
      // An init that does not answer is not asked again; the engine's own way is there for the next command.
      if (signal.aborted) this.#close("it did not answer in time");
      throw error;
    }
  }

  /**
   * Makes the process that holds the container the command. Resolves when it is; from then on the container is of no
   * further use to anybody else. A command that ends at once may take the init along, which has said before that it
   * begins; where somebody listens for it and the init can, it holds up that end, says so, and waits
   * for `letGo`, about a second at most.
   *
   * Failures: FAILED_PRECONDITION when it has not become it and never will, UNAVAILABLE when that is not known, the
   * signal's reason.
   */
  async claim(
    words: Words,
    { onEnding }: { readonly onEnding: ((letGo: () => void) => void) | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const body = wordsBody(words);
    if (body.length > MAX_FRAME_BYTES)
      throw new Failure("failed_precondition", `${handingOver}: the command is too long`);
    const claiming = Promise.withResolvers<number>();
    this.#claiming = claiming;
    this.#onEnding = onEnding;
    if (!this.isOpen)
      throw new Failure("failed_precondition", `${handingOver}: ${this.#closed ?? "it is gone"}`);
    const onAbort = () => claiming.reject(abortFailure(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) throw abortFailure(signal);
      this.#send(0, onEnding === undefined ? KIND.claim : KIND.claimHeld, body);
      const errno = await claiming.promise;
      if (errno === 0) return;
      throw new Failure(
        "failed_precondition",
        `${handingOver}: its command can't be started (errno ${errno})`,
      );
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Has the command of the claim end, if it waits for that. */
  letGo(): void {
    this.#send(0, KIND.letGo);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close("the server let go of it");
    await this.#exec[Symbol.asyncDispose]();
    await this.#reading;
  }

  #send(id: number, kind: number, body?: Uint8Array): void {
    if (!this.isOpen) return;
    // What can be under way is bounded by what the init has granted, so nobody has to wait for room.
    this.#exec.write(frame(id, kind, body), this.#closing.signal).catch((error: unknown) => {
      this.#close(error instanceof Error ? error.message : String(error));
    });
  }

  async #read(): Promise<void> {
    const reader = new FrameReader();
    let words = "";
    try {
      for await (const { stream, data } of this.#exec.output) {
        if (stream === "stderr") words = Buffer.from(data).toString("utf8", 0, 512).trim();
        else for (const received of reader.read(data)) this.#take(received);
      }
      const reason = words === "" ? "its container has ended, or the init in it was killed" : words;
      if (this.#hasBegun) this.#claiming?.resolve(0);
      else this.#claiming?.reject(new Failure("failed_precondition", `${handingOver}: ${reason}`));
      this.#close(reason);
    } catch (error) {
      // Whatever it is, a defect too, it is the end of this connection and told as the end of all that runs over it.
      this.#close(error instanceof Error ? error.message : String(error));
      await this.#exec[Symbol.asyncDispose]();
    }
  }

  #take({ id, kind, body }: { readonly id: number; readonly kind: number; readonly body: Uint8Array }): void {
    switch (kind) {
      case KIND.hello:
        if (readNumber(body) !== PROTOCOL)
          throw new RangeError("the init in the container is of another version");
        this.#greeted.resolve();
        return;
      case KIND.claiming:
        this.#hasBegun = true;
        return;
      case KIND.claimed:
        this.#claiming?.resolve(0);
        return;
      case KIND.notClaimed:
        this.#claiming?.resolve(readNumber(body));
        return;
      case KIND.ending:
        this.#onEnding?.(() => this.letGo());
        this.#onEnding = undefined; // it ends once
        return;
      default: {
        const exec = this.#running.get(id);
        if (exec === undefined) return;
        if (exec.take(kind, body) === "ended") this.#running.delete(id);
      }
    }
  }

  #close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    const gone = this.#gone("Cannot go on with the init in a container");
    this.#closing.abort(gone);
    this.#greeted.reject(gone);
    this.#claiming?.reject(gone);
    for (const exec of this.#running.values()) exec.cut(reason);
    this.#running.clear();
  }

  #gone(doing: string): Failure {
    return new Failure("unavailable", `${doing}: ${this.#closed ?? "it is gone"}`);
  }
}

const handingOver = "Cannot hand a prepared container over";

function readNumber(body: Uint8Array): number {
  if (body.length !== 4) throw new RangeError("it sent a frame of a wrong length");
  return Buffer.from(body.buffer, body.byteOffset, 4).readUInt32LE();
}
