import type { Container, ContainerId } from "../containers/container.ts";
import type { Pausing } from "../containers/pausing.ts";
import type { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { toWireContainerState } from "./wire-container.ts";
import { requiredId } from "./wire-values.ts";

/** OrchestratorService's calls that freeze a container and thaw it. */
export function pauseCalls(pausing: Pausing): Handlers<typeof OrchestratorService> {
  return {
    pauseContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      return stateOf(await pausing.pause(id, askedBy(call)));
    },
    resumeContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      return stateOf(await pausing.resume(id, askedBy(call)));
    },
  };
}

/** The engine has just said it, so that it is known whatever the link to it knows. */
function stateOf(container: Container) {
  return { containerId: container.id, state: toWireContainerState({ container, known: { kind: "yes" } }) };
}
