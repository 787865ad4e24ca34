import type { Call as DomainCall } from "../call.ts";
import type { Call } from "./call.ts";

/** The call as the domain knows it. */
export function askedBy(call: Call): DomainCall {
  return {
    actor: call.caller.actor,
    correlationId: call.correlationId,
    // Made when it is asked for, which most calls never do.
    get signal() {
      return call.signal;
    },
  };
}
