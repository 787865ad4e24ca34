/** A call that has its answer. */
interface Answered {
  readonly ended: boolean;
  send(bytes: Buffer, sent: () => void): void;
  succeed(): void;
  fail(error: unknown): void;
}

/** Of so many answers that are alone in their turn, two tell whether they still are: one may be the last of its turn. */
const lookEvery = 32;

/**
 * Sends the answers of calls that have one: the first of a turn of the event loop at once, the others of that turn
 * together at its end, so that one write to the socket takes them. To hear of a turn's end costs as much as a small
 * call's own work, so while answers come alone, as they do to a client that waits for each, only some turns are heard of.
 */
export class Departures {
  #waiting: { readonly call: Answered; readonly bytes: Buffer }[] = [];
  #inTurn = false;
  #inCompany = false;
  #alone = 0;

  /** Sends the one answer of `call` and ends it; what goes wrong becomes its status. */
  send(call: Answered, bytes: Buffer): void {
    if (this.#inTurn) {
      this.#waiting.push({ call, bytes });
      return;
    }
    depart(call, bytes);
    this.#alone = (this.#alone + 1) % lookEvery;
    if (!this.#inCompany && this.#alone > 1) return;
    this.#inTurn = true;
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#inTurn = false;
    this.#inCompany = waiting.length > 0;
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
