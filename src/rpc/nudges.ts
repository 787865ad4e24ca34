import type { Http2Connection } from "./http2.ts";

/**
 * Keeps one client's unread stream from holding up the other streams of its connection.
 *
 * Once a stream waits for its client to read, Bun keeps back what is written to the connection's other streams as
 * well, until the next frame of another kind goes out or comes in, and goes on to do so when that stream is gone. A
 * ping is such a frame. One is sent `NUDGE_MS` after a write that has not left by then, at most one at a time.
 */
export class Nudges {
  readonly #connections = new WeakMap<Http2Connection, Outgoing>();
  readonly #written = new Set<Outgoing>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The account of what is written to `connection`. */
  of(connection: Http2Connection | undefined): Outgoing {
    if (connection === undefined) return new Outgoing(this.#watch, undefined);
    let outgoing = this.#connections.get(connection);
    if (outgoing === undefined) {
      outgoing = new Outgoing(this.#watch, connection);
      this.#connections.set(connection, outgoing);
    }
    return outgoing;
  }

  readonly #watch = (outgoing: Outgoing): void => {
    this.#written.add(outgoing);
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(this.#nudge, NUDGE_MS);
    this.#timer.unref();
  };

  readonly #nudge = (): void => {
    this.#timer = undefined;
    for (const outgoing of this.#written) outgoing.nudge();
    this.#written.clear();
  };
}

/** Shorter than anyone notices, longer than a write takes that nothing holds up. */
const NUDGE_MS = 5;

/** What the streams of one connection have written that has not left yet. */
export class Outgoing {
  readonly #watch: (outgoing: Outgoing) => void;
  readonly #connection: Http2Connection | undefined;
  #unsent = 0;
  #pinging = false;

  constructor(watch: (outgoing: Outgoing) => void, connection: Http2Connection | undefined) {
    this.#watch = watch;
    this.#connection = connection;
  }

  written(): void {
    this.#unsent += 1;
    this.#watch(this);
  }

  /** A write has left. Those of a stream that was reset never do, and what they held up has to be nudged from then on. */
  left(): void {
    this.#unsent -= 1;
  }

  nudge(): void {
    const connection = this.#connection;
    if (this.#unsent === 0 || this.#pinging || connection === undefined || connection.destroyed) return;
    try {
      this.#pinging = connection.ping(() => {
        this.#pinging = false;
      });
    } catch {
      // It broke in this very moment, and its streams with it.
    }
  }
}
