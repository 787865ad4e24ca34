import { type Call, systemCall } from "../call.ts";
import { Failure } from "../failure.ts";
import type { Session } from "../sessions/session.ts";
import { type ContainerId, containerTable } from "./container.ts";
import type { EngineLink } from "./engine-link.ts";
import { removeSurroundings } from "./engine-surroundings.ts";
import { callSource } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";

/** How long an engine has for what is given up otherwise, in milliseconds. */
const abandonAfterMs = 5_000;

/**
 * Removes a container, and forgets it where the engine can't or won't: the way out for an operator whose engine never
 * comes back. What the engine still has of it is removed when that is possible, as everything that no row knows is.
 *
 * Failures: the signal's reason.
 */
export async function removeOrForget(
  { parts, link }: { readonly parts: ContainerParts; readonly link: EngineLink },
  id: ContainerId,
  { call, remove }: { readonly call: Call; readonly remove: (call: Call) => Promise<void> },
): Promise<void> {
  const why = await whyNotRemoved(link, { call, remove });
  if (why === undefined) return;
  // Whoever works on it and is stuck is not waited for: what is gone stays gone, whatever they find out.
  const container = await parts.store.get(containerTable, id);
  if (container === undefined) return;
  const reason = `it was abandoned by a call, since the engine did not remove it: ${why}`;
  await link.forgetHeld(container, call, { type: "container_removed", reason, source: callSource });
  link.refreshSoon(id);
}

/** Removes what a session has besides its containers; what can't be is removed when the engine is next compared. */
export async function removeSurroundingsOrLeave(
  {
    parts,
    link,
    session,
  }: { readonly parts: ContainerParts; readonly link: EngineLink; readonly session: Session },
  signal: AbortSignal,
): Promise<void> {
  const remove = ({ signal: within }: Call) => removeSurroundings(parts, session, within);
  await whyNotRemoved(link, { call: systemCall(signal), remove });
}

async function whyNotRemoved(
  link: EngineLink,
  { call, remove }: { readonly call: Call; readonly remove: (call: Call) => Promise<void> },
): Promise<string | undefined> {
  if (link.state.kind === "lost") return link.state.reason;
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(abandonAfterMs)]);
  try {
    await remove({ ...call, signal });
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure) || call.signal.aborted) throw error;
    return plainReason(error);
  }
}
