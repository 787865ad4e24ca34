export interface ClientOptions {
  /** Where the server listens: `unix:///run/baaaht.sock`, the path of a socket, or `host:port`. */
  readonly address: string;
  /** The longest wait for a connection. Milliseconds; 30,000 by default. */
  readonly dialTimeoutMs?: number;
  /** Of calls with one answer that say nothing else. Milliseconds; 10,000 by default, 0 is without end. */
  readonly callTimeoutMs?: number;
  /** The longest pause between two attempts to connect or to repeat a call. Milliseconds; 5,000 by default. */
  readonly reconnectIntervalMs?: number;
  /** How often in a row a call is repeated and a watch resumed; 0, the default: until the deadline, if there is one. */
  readonly reconnectMaxAttempts?: number;
  /** Sent as `authorization: Bearer …` with each call. */
  readonly token?: string;
  /** Sent with each call; names in lower case, values in printable ASCII. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Sent with each call that has no correlation id of its own; without it the server makes one for each call. */
  readonly correlationId?: string;
}

export interface Reconnect {
  readonly intervalMs: number;
  /** 0: without end. */
  readonly maxAttempts: number;
}
