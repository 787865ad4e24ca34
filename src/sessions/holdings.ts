import type { Holdings, Session } from "./session.ts";

const nothing: Holdings = {
  limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
  names: {},
  network: "none",
  volumes: [],
};

export function holdingsOf(session: Session): Holdings {
  return session.holdings ?? nothing;
}

/** Whether something of it stays in the engine when its containers are gone. */
export function holdsBesideContainers(session: Session): boolean {
  const { network, volumes } = holdingsOf(session);
  return network === "own" || volumes.length > 0;
}
