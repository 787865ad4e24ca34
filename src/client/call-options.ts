/** What one call may say beside its request. */
export interface CallOptions {
  /** Ends the call here and at the server: it throws what `abortFailure` makes of the signal. */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds until the call ends with DEADLINE_EXCEEDED, waiting for the connection and repetitions included; 0 is
   * without end, more than 20 days count as 20 days. Default: the client's `callTimeoutMs` for calls with one answer
   * (WaitContainer: none), none for streams.
   */
  readonly timeoutMs?: number;
  /** Sent with the call, over the client's own; names in lower case, values in printable ASCII. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Ties the call to others in the server's logs, events and errors; at most 128 printable characters. */
  readonly correlationId?: string;
  /**
   * Whether to wait for a connection, at most the client's `dialTimeoutMs`, or to fail at the first attempt that does.
   * Default: to wait if the client has been connected before, so that a server that restarts is not noticed and a
   * server that was never there is reported at once.
   */
  readonly waitForReady?: boolean;
  /** Told when the response headers are there: of a stream, when its subscription is in force. */
  readonly onHeaders?: (headers: Headers) => void;
  /** Told when the call has ended, well or not. */
  readonly onTrailers?: (trailers: Headers) => void;
}

/** Text metadata by lower-case name; several values of one name are joined by commas. */
export type Headers = ReadonlyMap<string, string>;
