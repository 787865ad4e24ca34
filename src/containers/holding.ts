import { Failure } from "../failure.ts";
import { holdingsOf } from "../sessions/holdings.ts";
import type { Holdings, Session } from "../sessions/session.ts";
import type { Container, ContainerConfig, ContainerId } from "./container.ts";
import { addLimits } from "./policy/limit-policy.ts";

/** What a session has with one container more. Failures: ALREADY_EXISTS when its name is taken, RESOURCE_EXHAUSTED (volumes). */
export function holdingMore(
  session: Session,
  added: {
    readonly id: ContainerId;
    /** As it will be stored: complete. */
    readonly config: ContainerConfig;
    readonly maxVolumes: number;
  },
): Holdings {
  const { id, config, maxVolumes } = added;
  const before = holdingsOf(session);
  refuseTakenName(config.name, before, session);
  const volumes = new Set(before.volumes);
  for (const { type, source } of config.mounts) if (type === "volume" && source !== "") volumes.add(source);
  if (volumes.size > maxVolumes && volumes.size > before.volumes.length) {
    throw new Failure(
      "resource_exhausted",
      `Cannot create a container in session "${session.id}": it would have ${volumes.size} volumes, and ${maxVolumes} is the most`,
      { reason: "TOO_MANY_VOLUMES", metadata: { limit: String(maxVolumes) } },
    );
  }
  return {
    limits: addLimits(before.limits, config.limits, 1n),
    names: config.name === "" ? before.names : { ...before.names, [config.name]: id },
    network: config.networkMode === "none" ? before.network : "own",
    volumes: [...volumes],
  };
}

/** What a session has without this container. Network and volumes stay until the session ends. */
export function holdingLess(session: Session, { id, config }: Container): Holdings | undefined {
  const before = holdingsOf(session);
  const names = Object.entries(before.names).filter(([, holder]) => holder !== id);
  const after: Holdings = {
    ...before,
    limits: addLimits(before.limits, config.limits, -1n),
    names: Object.fromEntries(names),
  };
  const last = session.containerIds.every((other) => other === id);
  return last && after.network === "none" && after.volumes.length === 0 ? undefined : after;
}

function refuseTakenName(name: string, { names }: Holdings, session: Session): void {
  const holder = Object.hasOwn(names, name) ? names[name] : undefined;
  if (name === "" || holder === undefined) return;
  throw new Failure(
    "already_exists",
    `Cannot create a container in session "${session.id}": its container "${holder}" has the name "${name}"`,
    {
      reason: "CONTAINER_NAME_TAKEN",
      metadata: { name, container_id: holder },
      violations: [{ field: "config.name", description: `is "${name}", which the session has already` }],
    },
  );
}
