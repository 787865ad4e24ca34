/** Who asks, and for how long: what every use case gets of the call that it serves. */
export interface Call {
  /** Who asks, such as `uid:1000`; `system` for what the server does by itself. Goes into events. */
  readonly actor: string;
  /** Ties the call's logs, events and errors together. At most 128 characters. */
  readonly correlationId: string;
  /** Aborts with the client's cancel, the deadline, or the server's shutdown. */
  readonly signal: AbortSignal;
}

/** A call that no client made: expiry, recovery, reconciliation. */
export function systemCall(signal: AbortSignal): Call {
  return { actor: "system", correlationId: Bun.randomUUIDv7(), signal };
}
