import type { NewEvent } from "../../events/event.ts";
import { Failure, type FailureKind, type FieldViolation } from "../../failure.ts";
import { type Session, sessionEvent } from "../../sessions/session.ts";
import type { ContainerConfig } from "../container.ts";

/** `denied`: by policy; `invalid`: it can't be; `exhausted`: not now, the session has no more of it. */
export interface Refusal extends FieldViolation {
  readonly kind: "denied" | "invalid" | "exhausted";
}

/** How many refusals of one request get an event of their own. */
const mostEvents = 32;

/** What the caller hears of refusals, all of them at once, and what the log keeps of them. */
export function refusal(
  refusals: readonly Refusal[],
  of: {
    readonly session: Session;
    readonly config: ContainerConfig;
    readonly at: number;
    readonly actor: string;
    readonly correlationId: string;
    readonly source: string;
  },
): { readonly failure: Failure; readonly events: readonly NewEvent[] } {
  const { session, config, at, actor, correlationId, source } = of;
  const named = refusals.map(({ field, description }) => `${field} ${description}`).join("; ");
  const message = `Cannot create a container of image "${config.image}": ${named}`;
  const { kind, reason } = worst(refusals);
  const violations = refusals.map(({ field, description }) => ({ field, description }));
  // What can't be is a mistake of the request, and nothing that policy was asked to allow.
  const violating = refusals.filter((one) => one.kind !== "invalid");
  const events = violating.slice(0, mostEvents).map((one, index) => {
    const more = index === mostEvents - 1 ? violating.length - mostEvents : 0;
    return sessionEvent(session, {
      type: "policy_violation",
      source,
      at,
      actor,
      correlationId,
      priority: "high",
      data: {
        field: one.field,
        reason: one.description,
        image: config.image,
        ...(more > 0 ? { more: String(more) } : {}),
      },
    });
  });
  return { failure: new Failure(kind, message, { ...(reason ? { reason } : {}), violations }), events };
}

function worst(refusals: readonly Refusal[]): { readonly kind: FailureKind; readonly reason?: string } {
  if (refusals.some(({ kind }) => kind === "denied"))
    return { kind: "permission_denied", reason: "POLICY_VIOLATION" };
  if (refusals.some(({ kind }) => kind === "invalid")) return { kind: "invalid_argument" };
  return { kind: "resource_exhausted", reason: "SESSION_LIMIT_REACHED" };
}
