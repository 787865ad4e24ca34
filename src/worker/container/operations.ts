import { Failure } from "../../failure.ts";

/** Something that a task does, under all the names that `allowed_operations` and `denied_operations` may use for it. */
export type Operation = readonly [name: string, ...others: string[]];

interface Bounds {
  readonly allowedOperations: readonly string[];
  readonly deniedOperations: readonly string[];
}

/**
 * Refuses what a task's constraints do not allow: an operation with any name that is denied, and, when any are allowed,
 * one with no name that is.
 *
 * Failures: PERMISSION_DENIED, OPERATION_DENIED.
 */
export function checkOperations(operations: readonly Operation[], bounds: Bounds | undefined): void {
  const allowed = new Set(bounds?.allowedOperations);
  const denied = new Set(bounds?.deniedOperations);
  for (const names of operations) {
    const forbidden = names.find((name) => denied.has(name));
    if (forbidden !== undefined) throw refused(names[0], `denied_operations has "${forbidden}"`);
    if (allowed.size > 0 && !names.some((name) => allowed.has(name))) {
      throw refused(
        names[0],
        `allowed_operations has none of ${names.map((name) => `"${name}"`).join(", ")}`,
      );
    }
  }
}

function refused(name: string, why: string): Failure {
  return new Failure(
    "permission_denied",
    `Cannot do "${name}": the task's constraints do not allow it: ${why}`,
    {
      reason: "OPERATION_DENIED",
    },
  );
}
