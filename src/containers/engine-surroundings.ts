import { Failure } from "../failure.ts";
import { holdsBesideContainers } from "../sessions/holdings.ts";
import { type Session, type SessionId, sessionTable } from "../sessions/session.ts";
import { type Container, engineLabels, networkName, volumeName } from "./container.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";

/** Makes what a container needs besides itself: its session's network, and the volumes that it names. */
export async function makeSurroundings(
  parts: ContainerParts,
  container: Container,
  within: () => AbortSignal,
): Promise<void> {
  const { config, sessionId } = container;
  if (config.networkMode !== "none") await makeNetwork(parts, sessionId, within);
  for (const { type, source } of config.mounts) {
    if (type !== "volume" || source === "") continue;
    const spec = { name: volumeName(sessionId, source), labels: labelsOf(parts, sessionId) };
    const found = await parts.runtime.volumes.create(spec, within());
    if (found.labels[engineLabels.session] === sessionId) continue;
    throw new Failure(
      "failed_precondition",
      `Cannot create a container with volume "${source}": the engine has a volume "${spec.name}" that is not the session's`,
    );
  }
}

/** Removes what a session that ends has in the engine besides its containers, which are gone already. */
export async function removeSurroundings(
  parts: ContainerParts,
  session: Session,
  signal: AbortSignal,
): Promise<void> {
  if (!holdsBesideContainers(session)) return;
  const { runtime, times } = parts;
  const within = () => AbortSignal.any([signal, AbortSignal.timeout(times.operationMs)]);
  const labels = labelsOf(parts, session.id);
  for (const { name } of await runtime.networks.list(labels, within())) {
    await runtime.networks.remove(name, within());
  }
  for (const { name } of await runtime.volumes.list(labels, within())) {
    await removeOrLeave(() => runtime.volumes.remove(name, within()));
  }
}

/** Removes networks and volumes of this install whose session is not known or has ended. */
export async function removeOrphans(parts: ContainerParts, signal: AbortSignal): Promise<void> {
  const { runtime, store, install, times } = parts;
  const within = () => AbortSignal.any([signal, AbortSignal.timeout(times.operationMs)]);
  const labels = { [engineLabels.install]: install };
  const isOrphan = async (of: Readonly<Record<string, string>>) => {
    const session = await store.get(sessionTable, of[engineLabels.session] ?? "");
    return session === undefined || session.life.state === "closed";
  };
  // An engine that refuses to list them is no reason not to know its containers.
  for (const kind of [runtime.networks, runtime.volumes]) {
    await removeOrLeave(async () => {
      for (const { name, labels: of } of await kind.list(labels, within())) {
        if (await isOrphan(of)) await removeOrLeave(() => kind.remove(name, within()));
      }
    });
  }
}

/** One call at a time for a session: an engine that is asked twice at once makes two networks of one name. */
async function makeNetwork(
  parts: ContainerParts,
  sessionId: SessionId,
  within: () => AbortSignal,
): Promise<void> {
  const { runtime, locks } = parts;
  const name = networkName(sessionId);
  using _held = await locks.hold(`network of ${sessionId}`, within());
  try {
    await runtime.networks.create({ name, labels: labelsOf(parts, sessionId) }, within());
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.kind === "already_exists") return;
    if (error.kind !== "resource_exhausted") throw error;
    throw new Failure(
      error.kind,
      `Cannot create a container in session "${sessionId}": the engine can't make a network for it (${plainReason(error)})`,
      { reason: "NETWORKS_EXHAUSTED", cause: error },
    );
  }
}

/** What somebody else's container still uses is not ours to take away; it is looked for again at the next start. */
async function removeOrLeave(remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    if (!(error instanceof Failure) || error.details.reason === "RUNTIME_UNAVAILABLE") throw error;
  }
}

function labelsOf({ install }: ContainerParts, sessionId: SessionId): Readonly<Record<string, string>> {
  return { [engineLabels.install]: install, [engineLabels.session]: sessionId };
}
