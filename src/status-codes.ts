import type { FailureKind } from "./failure.ts";

/** The number that gRPC gives to each kind of failure; 0 is OK. */
export const STATUS_CODES: Readonly<Record<FailureKind, number>> = {
  cancelled: 1,
  unknown: 2,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  aborted: 10,
  out_of_range: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
};

/** The kind of failure that a gRPC status code other than OK stands for; codes that gRPC does not know are `unknown`. */
export function kindOfStatus(code: number): FailureKind {
  return KINDS.get(code) ?? "unknown";
}

const KINDS = new Map(
  Object.entries(STATUS_CODES).map(([kind, code]) => [code, kind as FailureKind] as const), // the keys of a Record over FailureKind
);
