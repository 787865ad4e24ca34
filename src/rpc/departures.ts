/** A call that has its answer. */
interface Answered {
  readonly ended: boolean;
  send(bytes: Buffer, sent: () => void): void;
  succeed(): void;
  fail(error: unknown): void;
}

/**
 * Sends the answers of calls that have one: the first of a turn of the event loop at once, the others of that turn
 * together at its end. Bun writes to a connection's socket once for each answer that is sent by itself, which costs
 * more than all else that is done for a small call.
 */
export class Departures {
  #waiting: { readonly call: Answered; readonly bytes: Buffer }[] = [];
  #inTurn = false;

  /** Sends the one answer of `call` and ends it; what goes wrong becomes its status. */
  send(call: Answered, bytes: Buffer): void {
    if (this.#inTurn) {
      this.#waiting.push({ call, bytes });
      return;
    }
    this.#inTurn = true;
    setImmediate(this.#endTurn);
    depart(call, bytes);
  }

  readonly #endTurn = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#inTurn = false;
    for (const { call, bytes } of waiting) depart(call, bytes);
  };
}

function depart(call: Answered, bytes: Buffer): void {
  if (call.ended) return;
  try {
    call.send(bytes, ignore);
  } catch (error) {
    call.fail(error);
    return;
  }
  call.succeed();
}

/** The status waits for the answer in HTTP/2 anyway. */
function ignore(): void {}
