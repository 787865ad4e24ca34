import { Failure } from "../../src/failure.ts";
import type { Outcome } from "./journal.ts";

/** How a call ended that answers with the id of what it made. Only a Failure is an end; all else is thrown. */
export async function outcomeOf(call: Promise<string>): Promise<Outcome> {
  try {
    return { kind: "acknowledged", id: await call };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const status = `${error.kind}: ${error.message}`;
    return { kind: unanswered.has(error.kind) ? "unknown" : "refused", status };
  }
}

/** The statuses that leave open whether the server has done it. */
const unanswered: ReadonlySet<string> = new Set([
  "unavailable",
  "deadline_exceeded",
  "cancelled",
  "internal",
  "unknown",
]);
