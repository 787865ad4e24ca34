/** The closed set of ways in which a request can fail; each maps to one gRPC code in `rpc/status.ts`. */
export type FailureKind =
  | "cancelled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "permission_denied"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss"
  | "unauthenticated";

/** What is wrong with one field of a request; `field` is the wire's path, such as `config.resource_limits.nano_cpu`. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface FailureDetails {
  /** Becomes google.rpc.BadRequest. */
  readonly violations?: readonly FieldViolation[];
  /** Becomes google.rpc.ErrorInfo with the domain `baaaht`; an UPPER_SNAKE_CASE word that programs may switch on. */
  readonly reason?: string;
  /** Becomes ErrorInfo.metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Becomes google.rpc.RetryInfo; milliseconds. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/**
 * The one error that the product throws on purpose. Whatever else is thrown is a defect.
 *
 * The message is for a person who can act on it: `Cannot <verb> <noun> "<value>": <state of the world>`.
 *
 * @example
 * throw new Failure("not_found", `Cannot get session "${id}": there is none with this id`);
 */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly kind: FailureKind;
  readonly details: FailureDetails;

  constructor(kind: FailureKind, message: string, details: FailureDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.details = details;
  }

  /** The Failure that `error` is, or `undefined` for a defect. Only for the edges (rpc, client, cli, daemon). */
  static from(error: unknown): Failure | undefined {
    return error instanceof Failure ? error : undefined;
  }
}

/** A Failure for a request of which `violations` (at least one) are wrong. The message names them all. */
export function invalid(doing: string, violations: readonly FieldViolation[]): Failure {
  const named = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
  return new Failure("invalid_argument", `Cannot ${doing}: ${named}`, { violations });
}

/**
 * What an aborted wait throws: a Failure given as the abort's reason as it is, UNAVAILABLE for an `AbortSignal.timeout`
 * (a bound of ours on something that should have answered), and CANCELLED for everything else.
 */
export function abortFailure(signal: AbortSignal): Failure {
  const reason: unknown = signal.reason;
  if (reason instanceof Failure) return reason;
  if (reason instanceof DOMException && reason.name === "TimeoutError") {
    const message = "Cannot finish the call: what it depends on did not answer in time";
    return new Failure("unavailable", message, { reason: "TIMED_OUT", cause: reason });
  }
  return new Failure("cancelled", "Cannot finish the call: it was cancelled", { cause: reason });
}
