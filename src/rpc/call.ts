import type { Failure } from "../failure.ts";

/** Who makes a call, as far as the connection tells. */
export interface Caller {
  /** The name that logs and events give it, such as `uid:1000` on a Unix socket. */
  readonly actor: string;
  /** Of the process at the other end of a Unix socket, as it was when it connected. */
  readonly process?: { readonly pid: number; readonly uid: number; readonly gid: number };
}

/** What a handler knows of the call that it answers, and may do to it besides answering. */
export interface Call {
  /**
   * Aborted when the client cancels or vanishes (reason: a `cancelled` Failure), when the deadline passes
   * (`deadline_exceeded`) and when the server stops (`unavailable`). Not aborted by the end of the answer.
   */
  readonly signal: AbortSignal;
  /** From the client's `x-correlation-id` or `x-request-id`, or made; at most 128 printable characters. */
  readonly correlationId: string;
  /** As it was called, such as `proto.orchestrator.v1.OrchestratorService/GetSession`. */
  readonly method: string;
  readonly caller: Caller;
  /** Milliseconds since the Unix epoch. */
  readonly deadline: number | undefined;
  /** The request's text metadata by lower-case name; several values of one name are joined by commas. */
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * Sends the response headers now: for a client that waits for them, the subscription is in force. `headers` go along,
   * names in lower case, values in printable ASCII; they are left out when the headers have been sent already.
   */
  open(headers?: Readonly<Record<string, string>>): void;
  /** Adds a trailer to the answer's end; `name` in lower case, `value` in printable ASCII. */
  trailer(name: string, value: string): void;
  /**
   * Makes the Failure that ends a stream whose client has not read for the server's `stalledAfterMs`:
   * the place to put the cursor to resume from. Without it the client is told only that it did not read.
   */
  onStalled: (() => Failure) | undefined;
}
