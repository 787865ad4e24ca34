import type { Call as DomainCall } from "../call.ts";
import type { Call } from "./call.ts";

/** The call as the domain knows it. */
export function askedBy(call: Call): DomainCall {
  return { actor: call.caller.actor, correlationId: call.correlationId, signal: call.signal };
}
