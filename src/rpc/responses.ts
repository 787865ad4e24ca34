import { Failure } from "../failure.ts";
import type { Answer } from "./handlers.ts";
import { encodeAnswer, type Method } from "./method.ts";
import type { Outgoing } from "./nudges.ts";
import type { Waiting } from "./patience.ts";
import type { ServedCall } from "./served-call.ts";

/**
 * Sends the answers as fast as the client reads them, then the status. Never rejects. However the call ends, the
 * answers' iterator is told to `return`, so that a generator's `finally` runs.
 */
export async function respondWithAll(stream: {
  readonly method: Method;
  readonly call: ServedCall;
  readonly answers: () => AsyncIterable<Answer>;
}): Promise<void> {
  const { method, call } = stream;
  const responses = new Responses(method, call);
  let iterator: AsyncIterator<Answer> | undefined;
  try {
    iterator = stream.answers()[Symbol.asyncIterator]();
    for (;;) {
      const next = await iterator.next();
      if (next.done === true || call.ended) break;
      responses.send(encodeAnswer(method, next.value));
      if (responses.full) await responses.room();
    }
    call.succeed();
  } catch (error) {
    // First the status: a `finally` that takes its time must not keep the client waiting.
    call.fail(error);
  }
  try {
    await iterator?.return?.(); // which does nothing to one that is finished already
  } catch (error) {
    call.fail(error);
  }
}

/** How many bytes may wait for the client before the handler is held back; a single message may be larger. */
const UNSENT_BYTES = 64 * 1024;

/** The answers that are on their way to one client. */
class Responses implements Waiting {
  readonly #method: Method;
  readonly #call: ServedCall;
  readonly #outgoing: Outgoing;
  #unsent = 0;
  #unsentBytes = 0;
  #hasRoom: (() => void) | undefined;
  #giveUp: ((reason: unknown) => void) | undefined;

  constructor(method: Method, call: ServedCall) {
    this.#method = method;
    this.#call = call;
    this.#outgoing = method.edge.nudges.of(call.connection);
    call.whenAborted((reason) => this.#giveUp?.(reason));
  }

  get full(): boolean {
    return this.#unsentBytes >= UNSENT_BYTES;
  }

  send(bytes: Buffer): void {
    this.#unsent += 1;
    this.#unsentBytes += bytes.byteLength;
    this.#outgoing.written();
    this.#call.send(bytes, this.#sent);
  }

  /** Resolves when all that was sent is on its way; rejects when the call is aborted or the client does not read. */
  async room(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#hasRoom = resolve;
    this.#giveUp = reject;
    this.#method.edge.patience.begin(this);
    try {
      await promise;
    } finally {
      this.#method.edge.patience.end(this);
      this.#hasRoom = undefined;
      this.#giveUp = undefined;
    }
  }

  expire(): void {
    try {
      this.#giveUp?.(this.#stalled());
    } catch (error) {
      this.#giveUp?.(error);
    }
  }

  readonly #sent = (): void => {
    this.#outgoing.left();
    this.#unsent -= 1;
    if (this.#unsent === 0) {
      this.#unsentBytes = 0;
      this.#hasRoom?.();
    } else if (this.#hasRoom !== undefined) {
      // The client reads, if slowly: its time begins anew.
      this.#method.edge.patience.end(this);
      this.#method.edge.patience.begin(this);
    }
  };

  #stalled(): Failure {
    return (
      this.#call.onStalled?.() ??
      new Failure("resource_exhausted", `Cannot go on with ${this.#call.method}: the client does not read`, {
        reason: "CLIENT_STALLED",
      })
    );
  }
}
