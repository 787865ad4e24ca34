import type { Call } from "../call.ts";
import { invalid } from "../failure.ts";
import { sessionTable } from "../sessions/session.ts";
import { counterTable } from "../store/counters.ts";
import { rejectContainer } from "./approval-rules.ts";
import {
  type Container,
  type ContainerId,
  containerTable,
  knownContainer,
  openContainers,
} from "./container.ts";
import type { Creation } from "./creation.ts";
import { callSource } from "./observe.ts";
import type { ContainerParts } from "./parts.ts";

/** Lets containers that wait for approval be made, or not. */
export interface Approvals {
  /** See Creation.approve. */
  approve(id: ContainerId, call: Call): Promise<Container>;
  /**
   * Removes a container that waits, with a reason for the log.
   *
   * Failures: NOT_FOUND, FAILED_PRECONDITION (it does not wait), INVALID_ARGUMENT.
   */
  reject(id: ContainerId, options: { readonly reason: string }, call: Call): Promise<void>;
}

/** In UTF-16 units. */
const maxReasonLength = 1_024;

export function approvals(parts: ContainerParts, creation: Pick<Creation, "approve">): Approvals {
  const { store, clock, locks } = parts;
  return {
    approve: (id, call) => creation.approve(id, call),
    reject: async (id, { reason }, call) => {
      if (reason.length > maxReasonLength) {
        const description = `has ${reason.length} characters; at most ${maxReasonLength} are allowed`;
        throw invalid(`reject container "${id}"`, [{ field: "reason", description }]);
      }
      using _held = await locks.hold(id, call.signal);
      const wanted = { id, doing: "reject container" };
      const { sessionId } = knownContainer(await store.get(containerTable, id), wanted);
      const { actor, correlationId } = call;
      const rejecting = { id, reason, at: clock(), actor, correlationId, source: callSource };
      await store.change(
        {
          container: { table: containerTable, key: id },
          session: { table: sessionTable, key: sessionId },
          open: { table: counterTable, key: openContainers },
        },
        (loaded) => rejectContainer(loaded, rejecting),
      );
      await parts.touch(sessionId);
    },
  };
}
