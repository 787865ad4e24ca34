import type { Approvals } from "../containers/approvals.ts";
import type { ContainerId } from "../containers/container.ts";
import type { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { toWireContainer } from "./wire-container.ts";
import { requiredId } from "./wire-values.ts";

/** OrchestratorService's calls about containers that wait for approval. */
export function approvalCalls(approvals: Approvals): Handlers<typeof OrchestratorService> {
  return {
    approveContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      const container = await approvals.approve(id, askedBy(call));
      // The engine has just said it, so that it is known whatever the link to it knows.
      return { container: toWireContainer({ container, known: { kind: "yes" }, usage: undefined }) };
    },
    rejectContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      await approvals.reject(id, { reason: request.reason }, askedBy(call));
      return { containerId: id };
    },
  };
}
